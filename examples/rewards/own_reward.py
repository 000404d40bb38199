"""The smallest judge: a response is worth more the nearer it comes to fifty words.

    python3 own_reward.py

It reads one JSON object a line, {"id": 17, "messages": [...], "response": "...", "row": {...}}, where `row` is the row
of the data, and writes one for each, {"id": 17, "reward": 0.5}. What it prints to stderr is shown.
"""
import json
import sys

for line in sys.stdin:
    asked = json.loads(line)
    words = len(asked["response"].split())
    print(json.dumps({"id": asked["id"], "reward": -abs(words - 50) / 50}), flush=True)
