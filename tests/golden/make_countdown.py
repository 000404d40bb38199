"""Writes countdown.jsonl: expressions and their verdicts under the rules of src/countdown.rs, by other means than that
file: Python's own parser, whole numbers and fractions.Fraction. 0: not valid, 1: valid, 2: its value is the target.
Run as `python3 make_countdown.py` beside the fixture; Python 3.8 or newer, no packages. The seed is fixed."""
import ast, json, pathlib, random, re, warnings
from fractions import Fraction

warnings.simplefilter("ignore")
R = random.Random(20261127)


def value(node, used):
    if isinstance(node, ast.Expression):
        return value(node.body, used)
    if isinstance(node, ast.Constant) and type(node.value) is int:
        used.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.UAdd, ast.USub)):
        v = value(node.operand, used)
        return -v if isinstance(node.op, ast.USub) else v
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub, ast.Mult, ast.Div)):
        a, b = value(node.left, used), value(node.right, used)
        return {ast.Add: a.__add__, ast.Sub: a.__sub__, ast.Mult: a.__mul__, ast.Div: a.__truediv__}[type(node.op)](b)
    raise ValueError(node)


def verdict(text, numbers, target):
    for one, other in zip("×·÷−", "**/-"):
        text = text.replace(one, other)
    text = re.sub(r"\s*=\s*%d\s*$" % target, "", text)
    if not re.fullmatch(r"[\d+\-*/()\s]+", text):
        return 0
    try:
        used = []
        v = value(ast.parse(text.strip(), mode="eval"), used)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return 0
    return 0 if sorted(used) != sorted(numbers) else 1 + (v == target)


def build(numbers):
    """A random expression over the numbers, in this order."""
    if len(numbers) == 1:
        n = str(numbers[0])
        return R.choice([n] * 12 + ["-" + n, "(%s)" % n, "+" + n, "--" + n])
    cut = R.randrange(1, len(numbers))
    a, b = build(numbers[:cut]), build(numbers[cut:])
    space = R.choice(["", "", " "])
    text = a + space + R.choice("++--**//×÷−") + space + b
    return R.choice([text, "(%s)" % text, "(%s)" % text])


def spoilt(text):
    at = R.randrange(len(text) + 1)
    cut = text[:at] + text[at + 1:]
    return R.choice([cut, cut, text[:at] + R.choice("0123456789+-*/()=. x") + text[at:], text.replace("*", "**", 1), text.replace("/", "//", 1)])


def integer_value(numbers):
    while True:
        text = build(numbers)
        try:
            v = value(ast.parse(text.replace("×", "*").replace("÷", "/").replace("−", "-"), mode="eval"), [])
        except (SyntaxError, ZeroDivisionError):
            continue
        if v.denominator == 1 and abs(v) < 10**6:
            return text, int(v)


rows = []
hard = [([8, 3, 8, 3], 24, ["8/(3-8/3)", "8/(3-(8/3))", "8*3-8+3", "8/3/8*3"]), ([1, 5, 5, 5], 24, ["5*(5-1/5)"]), ([3, 3, 7, 7], 24, ["7*(3+3/7)"])]
for numbers, target, texts in hard:
    rows.append((numbers, target, texts))
for index in range(84):
    numbers = [R.randint(0 if index % 7 == 0 else 1, R.choice([4, 10, 99])) for _ in range(R.choice([1, 2, 3, 3, 4, 4, 5, 6]))]
    text, target = integer_value(numbers)
    texts = [text, text + " = %d" % target, text + "=%d" % (target + 1)]
    mixed = lambda: R.sample(numbers, len(numbers))
    for _ in range(400):
        other = build(mixed())
        if verdict(other, numbers, target) == 2 and len(texts) < 14:
            texts.append(other)
    while len(texts) < 20:
        texts.append(build(mixed()))
    while len(texts) < 25:
        texts.append(spoilt(build(mixed())))
    texts.append(build(numbers + [R.choice(numbers)]))
    texts.append(build(numbers[:-1] or [target + 1]))
    texts.append(build(numbers[:-1] + [numbers[-1] + 1]))
    texts.append(spoilt(text))
    rows.append((numbers, target, texts))

lines = []
for numbers, target, texts in rows:
    verdicts = [[t, verdict(t, numbers, target)] for t in dict.fromkeys(texts)]
    lines.append(json.dumps({"numbers": numbers, "target": target, "verdicts": verdicts}, ensure_ascii=False, separators=(",", ":")))
path = pathlib.Path(__file__).parent / "fixtures" / "countdown.jsonl"
path.write_text("\n".join(lines) + "\n")
count = [sum(v == k for line in lines for _, v in json.loads(line)["verdicts"]) for k in range(3)]
print(path, path.stat().st_size, "bytes", sum(count), "verdicts", count)
