"""The description of the API as a page: plain HTML made here, so it needs no script and nothing from outside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from html import escape
from typing import Any

_STYLE = """
:root{color-scheme:light dark;--line:color-mix(in srgb,currentColor 18%,transparent);
  --quiet:color-mix(in srgb,currentColor 65%,transparent)}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:0 auto;padding:1.5rem}
nav ul{columns:22rem;list-style:none;padding:0}nav a{text-decoration:none}
h2{margin-top:2.5rem;border-bottom:1px solid var(--line)}
details{border:1px solid var(--line);border-radius:8px;margin:.6rem 0;padding:.5rem .9rem}
summary{cursor:pointer;overflow-wrap:anywhere}
summary b{display:inline-block;min-width:4.2rem}
code,pre{font:13px/1.5 ui-monospace,monospace}
pre{overflow-x:auto;padding:.7rem;border:1px solid var(--line);border-radius:6px}
table{border-collapse:collapse;width:100%;margin:.4rem 0 1rem}
td,th{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-top:1px solid var(--line)}
.quiet{color:var(--quiet)}.wide{overflow-x:auto}
"""
_HOW = """<p>Clients use the same services as the pages, with the same permissions. Sign in with
<code>POST /api/auth/login</code> and send the <code>access_token</code> with every other request. The same
description for programs is <a href="openapi.json">openapi.json</a>; the kinds of problems are
<a href="problems">listed</a>.</p>
<pre>TOKEN=$(curl -s {base}/auth/login -H 'Content-Type: application/json' -d '{{"email": "…", "password": "…"}}' \\
  | python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])')
curl -s {base}/patients -H "Authorization: Bearer $TOKEN"</pre>"""
_REF = "#/components/schemas/"


def document_page(document: dict[str, Any], *, base: str) -> str:
    """Return the page; `base` is the address of the API as a client sees it."""
    groups: dict[str, list[tuple[str, str, dict[str, Any]]]] = defaultdict(list)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            groups[operation["tags"][0]].append((method.upper(), path, operation))
    schemas = document["components"]["schemas"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width,initial-scale=1'>",
        f"<title>{escape(document['info']['title'])} API</title><style>{_STYLE}</style>",
        f"<h1>{escape(document['info']['title'])} API {escape(document['info']['version'])}</h1>",
        f"<p>{escape(document['info']['description'])}</p>{_HOW.format(base=escape(base))}",
        "<nav aria-label=Routes><ul>",
        *(f"<li><a href='#{escape(tag)}'>{escape(tag.capitalize())}</a>" for tag in groups),
        "<li><a href='#bodies'>Bodies</a></ul></nav><main>",
    ]
    for tag, operations in groups.items():
        parts.append(f"<h2 id='{escape(tag)}'>{escape(tag.capitalize())}</h2>")
        for operation in operations:
            parts += _operation(*operation)
    parts.append("<h2 id=bodies>Bodies</h2>")
    for name, schema in sorted(schemas.items()):
        parts += _schema(name, schema)
    return "\n".join([*parts, "</main></html>"])


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    sentence, _, rest = operation["description"].partition("\n\n")
    yield f"<details id='{escape(operation['operationId'])}'><summary><b>{method}</b> <code>{escape(path)}</code>"
    yield f"<br><span class=quiet>{escape(sentence)}</span></summary>"
    if rest:
        yield f"<p>{escape(rest)}</p>"
    if "security" not in operation:
        yield "<p>Needs no token.</p>"
    rows = [
        (
            f"<code>{escape(each['name'])}</code> <span class=quiet>{escape(each['in'])}</span>",
            _type(each["schema"]) + (", needed" if each.get("required") else ""),
            escape(each.get("description", "")),
        )
        for each in operation.get("parameters", [])
    ]
    if rows:
        yield from _table(("Parameter", "Type", ""), rows)
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body: <code>{escape(kind)}</code>, {_type(content['schema'])}</p>"
    yield from _table(("Status", "Body", ""), [_answer(*each) for each in operation["responses"].items()])
    yield "</details>"


def _answer(status: str, answer: dict[str, Any]) -> tuple[str, str, str]:
    bodies = ", ".join(
        f"{_type(content.get('schema', {}))} <span class=quiet>{escape(kind)}</span>"
        for kind, content in answer.get("content", {}).items()
    )
    named = ", ".join(
        f"<code>{escape(name)}</code>" for name in answer.get("headers", {}) if name != "X-Request-ID"
    )
    return status, bodies, escape(answer["description"]) + (f" Headers: {named}." if named else "")


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"<details id='{escape(name)}'><summary><code>{escape(name)}</code> "
    yield f"<span class=quiet>{escape(schema.get('description', ''))}</span></summary>"
    needed = schema.get("required", [])
    rows = [
        (
            f"<code>{escape(field)}</code>",
            _type(about) + (", needed" if field in needed else ""),
            escape(about.get("description", "")),
        )
        for field, about in schema.get("properties", {}).items()
    ]
    if rows:
        yield from _table(("Field", "Type", ""), rows)
    elif "enum" in schema:
        yield f"<p>{_type(schema)}</p>"
    yield "</details>"


def _table(headings: tuple[str, ...], rows: list[tuple[str, str, str]]) -> Iterator[str]:
    yield "<div class=wide><table><tr>" + "".join(f"<th scope=col>{each}" for each in headings)
    for row in rows:
        yield "<tr>" + "".join(f"<td>{cell}" for cell in row)
    yield "</table></div>"


def _type(schema: dict[str, Any]) -> str:
    """Return what a schema accepts in a few words, with a link if it is described below."""
    if "$ref" in schema:
        name = escape(schema["$ref"].removeprefix(_REF))
        return f"<a href='#{name}'>{name}</a>"
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    limits = [
        f"{word} {schema[key]}"
        for key, word in (
            ("minimum", "from"),
            ("maximum", "to"),
            ("maxLength", "at most"),
            ("default", "else"),
        )
        if schema.get(key) is not None
    ]
    return escape(" ".join([str(schema.get("format") or schema.get("type", "anything")), *limits]))
