#!/usr/bin/env python3
"""Writes fixtures/chat_templates.json: what Jinja makes of chat templates, set up the way `transformers` does it.

    python3 tests/golden/make_chat_templates.py <reference data>/tokenizers

needs Jinja2 (3.1 was used). The templates of the three reference models stay where they are; the fixture has the texts
that they make. The other templates are ours, in the styles of families that the reference data does not have, and are
stored with the fixture. Where a template refuses a conversation the fixture has its words.
"""

import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox


class GenerationBlocks(jinja2.ext.Extension):
    """`{% generation %}` blocks, which only mark a text; in `transformers` they are call blocks too."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller):
        return caller()


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def strftime_now(form):
        return datetime.datetime.now().strftime(form)

    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlocks, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = strftime_now
    return made


def turns(*texts, system=None, first="user"):
    roles = ["user", "assistant"] if first == "user" else ["assistant", "user"]
    messages = [{"role": "system", "content": system}] if system is not None else []
    return messages + [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]


CONVERSATIONS = {
    "one question": turns("What is 2 + 2?"),
    "with system": turns("Hi", system="You are terse."),
    "three turns": turns("Hi", "Hello! How can I help?", "Tell me a joke.\nA short one."),
    "system and five turns": turns("a", "b", "c", "d", "e", system="  Keep the blanks.  "),
    "unicode": turns("日本語で、お願いします。🙂👍🏽", "はい。", "naïve café e\u0301 \u200b\u00a0 ١٢٣", system="Ünïcödé “quotes”"),
    "blanks and markup": turns("  leading\n\n\ttrailing  \n", "{{ not a template }} {% raw %} <|im_end|>", "<b>&amp;'\"\\</b>\r\n"),
    "empty texts": turns("", "", "", system=""),
    "thinking": turns("Why?", "<think>\nBecause.\n</think>\n\nSo it is.", "And then?", "<think>x</think>Done.", "Thanks"),
    "assistant last": turns("Write a line.", "A line"),
    "tool role": turns("Look it up.") + [{"role": "tool", "content": '{"x": 1}'}, {"role": "tool", "content": "two"}],
    "two users": [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}],
    "assistant first": turns("I begin.", "You do.", first="assistant"),
    "late system": turns("Hi") + [{"role": "system", "content": "Now be brief."}],
    "nothing": [],
}

# In the style of Qwen3: thoughts of earlier turns are dropped.
QWEN3_STYLE = r"""{%- if tools %}
    {{- '<|im_start|>system\n# Tools\n' }}
    {%- for tool in tools %}
        {{- "\n" + (tool | tojson) }}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- set ns = namespace(searching=true, last_query=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and message.content is string and not (message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.searching = false %}
        {%- set ns.last_query = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thought = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query and (loop.last or (not loop.last and thought)) %}
            {{- '<|im_start|>' + message.role + '\n<think>\n' + thought.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for call in message.tool_calls %}
                {{- '\n<tool_call>\n' + (call.arguments | tojson) + '\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or messages[loop.index0 - 1].role != "tool" %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\n<tool_response>\n' + content + '\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != "tool" %}
            {{- '<|im_end|>\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}
"""

# In the style of Mistral: the system's words go into the last question, and roles alternate or it refuses.
MISTRAL_STYLE = r"""{%- if messages and messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}

{#- Roles alternate, counting without tools. #}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}{{- tools | map(attribute="function") | list | tojson }}{{- "][/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\n\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token }}
    {%- elif message["role"] == "tool" %}
        {%- set content = message.content %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string|tojson + ", " }}
        {{- '"call_id": "' + "%09d" | format(loop.index0) + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}
    {%- endif %}
{%- endfor %}
"""

# In the style of Llama 3.1: a date, a header a turn, and `tools` that may be none.
LLAMA31_STYLE = r"""{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = "in the year " ~ (strftime_now("%Y") | length) %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- This block extracts the system message, so we can slot it into the right place. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\n\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\n\n" }}
        {%- if message.content is mapping or (message.content is iterable and message.content is not string) %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"""

# In the style of Gemma: a role by another name, and no system role.
GEMMA_STYLE = r"""{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '
' + message['content'] | trim + '<end_of_turn>
' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model
'}}{% endif %}"""

# What whitespace control has to get right, with comments, macros, loop controls and marks of the assistant's text.
WHITESPACE = """{# A comment on its own line. #}
{% macro turn(role, content, close=true) %}
<{{ role }}>
    {{ content }}
{% if close %}</{{ role }}>{% endif %}

{% endmacro %}
  {% for message in messages %}
    {% if loop.index > 3 %}
      {% break %}
    {% elif message.role == "tool" %}
      {% continue %}
    {% endif %}
  line {{ loop.index }} of {{ loop.length }}{% if not loop.last %},{% endif %}

{{ turn(message.role, message.content) -}}
    {% generation %}
      {%- set note = "inside" %}
  note: {{ note }}
    {% endgeneration %}
    {%+ if loop.first %} first {% endif +%}
  after
    {%- if loop.previtem is defined %} previous {{ loop.previtem.role }}{% endif %}

  {% else %}
  no messages
  {% endfor %}
note {{ note is defined }}
{% set kept %}
  block text
{% endset %}
[{{ kept | trim }}]
\ttab and end
{% if add_generation_prompt %}
<assistant>
{% endif %}

"""

# What Python's texts, lists and maps can do, and how its constants are written.
PYTHON = r"""{%- for message in messages -%}
{{ loop.index0 }}/{{ loop.revindex0 }} {{ message.role.upper() }} {{ message['role'].title() }} {{ message.get('name', 'nobody') }} {{ message.get('name') }}|
{%- for key, value in message.items() %} {{ key }}={{ value | length }}{% endfor %} {{ message.keys() | list | join(',') }} {{ 'content' in message }} {{ message.name is defined }} {{ message.content is string }} {{ message is mapping }} {{ messages is sequence }} {{ message.content is sequence }} {{ message.content is iterable }}
{{ message.content.strip().split() | length }} {{ message.content.replace('e', '3').count('3') }} {{ message.content.find('i') }} [{{ message.content[:5] }}] [{{ message.content[-3:] | tojson }}] {{ message.content.lower().startswith(('h', 'w')) }} {{ message.content | upper | trim | tojson }} {{ loop.cycle('odd', 'even') }}
{% endfor -%}
{{ messages | map(attribute='role') | unique | join('+') }} {{ messages | rejectattr('role', 'equalto', 'user') | list | length }} {{ (messages | first).role if messages else 'none' }} {{ (messages | last).content | default('') | length }}
{{ true }} {{ false }} {{ none }} {{ 1 == 1 }} {{ 7 // 2 }} {{ 7 % 3 }} {{ 2 ** 3 }} {{ 'a' ~ 1 ~ 'b' }} {{ 'x' * 3 }} {{ [1, 2] + [3] == [1, 2, 3] }} {{ 'ab' in 'cabd' }} {{ (1, 2) | length }} {{ range(2, 8, 3) | list | tojson }}
{{ {'b': 1, 'a': [true, none, 1.5, 'é<&>"\n']} | tojson }} {{ {'b': 1, 'a': {}} | tojson(indent=2) }} {{ dict(x=1).x }} {{ undefined_thing }}{{ undefined_thing is none }} {{ not undefined_thing }}
{%- set ns = namespace(count=0, roles=[]) %}{% for m in messages if m.role != 'system' %}{% set ns.count = ns.count + 1 %}{% set ns.roles = ns.roles + [m.role[0]] %}{% endfor %}
{{ ns.count }} {{ ns.roles[::-1] | join }} {{ ns.roles[1:][::2] | join }} {{ 'system,user'.split(',')[-1] }} {{ 'a--b--c'.split('--', 1) | tojson }} {{ '  x '.rstrip() | tojson }} {{ 'abcabc'.strip('ac') }} {{ "it's" | replace("'", '"') }}
{% filter upper %}filtered {{ messages | length }}{% endfilter %} {% raw %}{{ raw }}{% endraw %} {% set a, b = 1, 2 %}{{ a + b }} {% with c = 5 %}{{ c }}{% endwith %}{{ c is defined }}"""

OURS = {
    "qwen3 style": (QWEN3_STYLE, None, "<|im_end|>"),
    "mistral style": (MISTRAL_STYLE, "<s>", "</s>"),
    "llama 3.1 style": (LLAMA31_STYLE, "<|begin_of_text|>", "<|eot_id|>"),
    "gemma style": (GEMMA_STYLE, "<bos>", "<eos>"),
    "whitespace": (WHITESPACE, None, None),
    "whitespace, line ends of Windows": (WHITESPACE.replace("\n", "\r\n"), None, None),
    "python": (PYTHON, None, None),
}


def main():
    data = pathlib.Path(sys.argv[1])
    templates = {}
    for model in ["smollm2", "qwen2.5", "llama3"]:
        config = json.loads((data / model / "tokenizer_config.json").read_text())
        templates[model] = (config["chat_template"], config.get("bos_token"), config.get("eos_token"))
    templates.update(OURS)

    cases = []
    for name, (source, bos, eos) in templates.items():
        template = environment().from_string(source)
        tokens = {key: token for key, token in [("bos_token", bos), ("eos_token", eos)] if token is not None}
        for conversation, messages in CONVERSATIONS.items():
            for prompt in [False, True]:
                case = {"template": name, "conversation": conversation, "add_generation_prompt": prompt}
                try:
                    case["text"] = template.render(
                        messages=messages, tools=None, documents=None, add_generation_prompt=prompt, **tokens
                    )
                except jinja2.exceptions.UndefinedError:
                    case["error"] = "undefined"
                except jinja2.exceptions.TemplateError as error:
                    case["error"] = str(error)
                cases.append(case)

    fixture = {
        "made_by": "tests/golden/make_chat_templates.py with Jinja2 " + jinja2.__version__,
        "conversations": CONVERSATIONS,
        "templates": {
            name: {"source": source, "bos_token": bos, "eos_token": eos} for name, (source, bos, eos) in OURS.items()
        },
        "cases": cases,
    }
    path = pathlib.Path(__file__).parent / "fixtures" / "chat_templates.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(fixture, ensure_ascii=False, indent=1) + "\n")
    print(f"{path}: {len(cases)} cases, {sum('error' in case for case in cases)} of them refusals")


if __name__ == "__main__":
    main()
