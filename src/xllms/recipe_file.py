"""From a YAML file and `--set` overrides to a Recipe; a bad key is answered with its file and line."""

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from xllms.errors import InputError
from xllms.recipe import Recipe

_SET = "--set"
_NAMED = ("engines", "translators")  # of the recipe: names of the user's own


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path: YAML file.
        overrides: `key=value` texts such as `sft.lora.r=16`; the value is YAML.

    Raises:
        InputError: an unknown key (with the nearest known one), a wrong type, a value out of range, broken YAML;
            each names the file and line, or the `--set` that is to blame.
    """
    node, value = read_mapping(path, "a recipe", "output: runs/mine", "recipes are listed in recipes/")
    set_keys: dict[tuple[str, ...], str] = {}
    for override in overrides:
        _apply(value, override, set_keys)
    try:
        return Recipe.model_validate(value)
    except ValidationError as error:
        raise InputError(explain(error, node, path, set_keys)) from None


def read_mapping(path: Path, what: str, example: str, hint: str) -> tuple[yaml.Node | None, dict[str, Any]]:
    """The mapping in a YAML file, with the node that knows its lines; an empty file is an empty one.

    Args:
        path: of the file.
        what: it is, with its article, for messages.
        example: of a line in such a file.
        hint: what to do where there is no such file.

    Raises:
        InputError: not readable, not YAML, not a mapping, a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        name = what.partition(" ")[2]
        raise InputError(f"{path}: {name} cannot be read: {error.strerror}; {hint}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a UTF-8 text file; {what} is YAML") from None
    node, value = _parse_yaml(text, str(path))
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise InputError(f"{path}:1: {what} is a YAML mapping such as `{example}`")
    if node is not None:
        _refuse_duplicates(node, path)
    return node, value


def _parse_yaml(text: str, where: str) -> tuple[yaml.Node | None, Any]:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{where}:{line}: not valid YAML: {error.problem}") from None
    except RecursionError:
        raise InputError(f"{where}: not valid YAML: an anchor refers to itself") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: 2024-13-45 looks like a date and is none
        raise InputError(f"{where}: not valid YAML: {str(error).splitlines()[0]}") from None


def _refuse_duplicates(node: yaml.Node, path: Path) -> None:
    """YAML would take the last of two equal keys without a word."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, child in node.value:
            if key.value in seen:
                raise InputError(f"{path}:{key.start_mark.line + 1}: `{key.value}` stands twice; keep one")
            seen.add(key.value)
            _refuse_duplicates(child, path)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_duplicates(child, path)


def _apply(value: dict[str, Any], override: str, set_keys: dict[tuple[str, ...], str]) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"{_SET} {override}: write KEY=VALUE, such as {_SET} sft.lora.r=16")
    parts = tuple(key.split("."))
    _, parsed = _parse_yaml(text, f"{_SET} {override}")
    target: Any = value
    for depth, part in enumerate(parts[:-1]):
        if isinstance(target, list):
            _check_index(target, parts[:depth], part, override)
        child = _child(target, part)
        if child is None and isinstance(target, dict):
            child = target[part] = {}
        if not isinstance(child, (dict, list)):
            raise InputError(f"{_SET} {override}: `{part}` holds a single value, it has nothing below it")
        target = child
    last = parts[-1]
    if isinstance(target, list):
        _check_index(target, parts[:-1], last, override)
        target[int(last)] = parsed
    else:
        target[last] = parsed
    set_keys[parts] = override


def _check_index(target: list[Any], keys: tuple[str, ...], part: str, override: str) -> None:
    if not part.isdigit() or int(part) >= len(target):
        raise InputError(f"{_SET} {override}: {'.'.join(keys)} is a list of {len(target)}: use 0..{len(target) - 1}")


def _child(target: Any, part: str) -> Any:
    return target[int(part)] if isinstance(target, list) else target.get(part)


def explain(
    error: ValidationError,
    node: yaml.Node | None,
    path: Path,
    set_keys: dict[tuple[str, ...], str],
    root: type[BaseModel] = Recipe,
) -> str:
    """The first thing that is wrong with a file, in one line with file and line, or the `--set` that is to blame."""
    errors = error.errors()
    first = errors[0]
    tagged = tuple(str(part) for part in first["loc"])
    keys = _real_keys(tagged, first["type"])
    where = _where(keys, node, path, set_keys)
    name = ".".join(keys)
    if first["type"] == "extra_forbidden":
        known = _known_fields(tagged[:-1], root)
        near = difflib.get_close_matches(keys[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}"
        return f"{where}: unknown key `{name}`; {hint}"
    # A value that may be of two types has an error for each.
    same = [e for e in errors if _real_keys(tuple(map(str, e["loc"])), e["type"]) == keys]
    message = ", or ".join(dict.fromkeys(_in_yaml_terms(e["msg"]) for e in same))
    given = "" if first["type"] in ("missing", "value_error") else f" (got {first['input']!r})"
    taken = first["type"] == "string_type" and isinstance(first["input"], bool)
    quote = "; quote it: YAML takes no, yes, on and off for false and true" if taken else ""
    return f"{where}: {name + ': ' if name else ''}{message}{given}{quote}"


def _in_yaml_terms(message: str) -> str:
    message = message.removeprefix("Value error, ").replace("a valid tuple", "a list such as [a, b]")
    message = re.sub(r"a valid dictionary or instance of \w+", "a mapping of keys", message)
    return message[0].lower() + message[1:]


def _real_keys(keys: tuple[str, ...], kind: str) -> tuple[str, ...]:
    """Leave out what pydantic puts in for a union: a source's tag (`cldr`), or a type such as `tuple[str, ...]`."""
    if kind != "extra_forbidden":
        keys = tuple(key for key in keys if "[" not in key)
    return tuple(key for index, key in enumerate(keys) if not _is_tag(keys, index))


def _is_tag(keys: Sequence[str], index: int) -> bool:
    """Whether a key is the `type` of what stands in a list, or under a name of the user's own."""
    listed = index >= 1 and keys[index - 1].isdigit()
    named = index == 2 and keys[0] in _NAMED
    return (listed or named) and keys[index] in _tags(Recipe)


def _tags(model: type[BaseModel]) -> set[str]:
    own = set(_types(model))
    return own.union(*(_tags(inner) for field in model.model_fields.values() for inner in _models_in(field.annotation)))


def _types(model: type[BaseModel]) -> tuple[str, ...]:
    """What `type` may say of this model."""
    field = model.model_fields.get("type")
    return get_args(field.annotation) if field else ()


def _where(keys: tuple[str, ...], node: yaml.Node | None, path: Path, set_keys: dict[tuple[str, ...], str]) -> str:
    for length in range(len(keys), 0, -1):
        if keys[:length] in set_keys:
            return f"{_SET} {set_keys[keys[:length]]}"
    line = 1
    for key in keys:
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == key), None)
        elif isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
            found = (node.value[int(key)], node.value[int(key)])
        if found is None:  # not in the file: a `--set` below it has made it
            made_by = next((text for made, text in set_keys.items() if made[: len(keys)] == keys), None)
            return f"{_SET} {made_by}" if made_by else f"{path}:{line}"
        line = found[0].start_mark.line + 1
        node = found[1]
    return f"{path}:{line}"


def _known_fields(keys: tuple[str, ...], root: type[BaseModel]) -> list[str]:
    models: list[type[BaseModel]] = [root]
    for index, key in enumerate(keys):
        below = []
        for model in models:
            if key.isdigit() or (index == 1 and keys[0] in _NAMED):
                below.append(model)
            elif _is_tag(keys, index):
                below += [model] if key in _types(model) else []
            elif key in model.model_fields:
                below += list(_models_in(model.model_fields[key].annotation))
        models = below
    return sorted({name for model in models for name in model.model_fields})


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def describe(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[str]:
    """One line per key of a recipe: name, default, meaning."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield from describe(type(default), f"{key}.")
        elif inner := list(_models_in(field.annotation)):
            for one in inner:
                yield from describe(one, f"{key}{_place(name, one, field.annotation)}.")
        else:
            shown = "(required)" if field.is_required() else _plain(default)
            yield f"{key} = {shown}" + (f"   # {field.description}" if field.description else "")


def _place(name: str, model: type[BaseModel], annotation: Any) -> str:
    """How a key goes on below a list (`[type]`, or `[]` where all are of one kind), or a name of the user's own."""
    types = "/".join(_types(model))
    if name in _NAMED:
        return f".NAME[{types}]"
    return f"[{types}]" if types or "tuple" in str(annotation) else ""


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return {None: "null", "": '""'}.get(value, str(value)) if not isinstance(value, dict) else str(value)
