"""Message classes as rosidl generates them for Python: the definitions are ROS 2's own, by rosbags; who assigns what a
field is not gets an AssertionError, as there."""

from __future__ import annotations

import math
from array import array
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_typestore

_STORE = get_typestore(Stores.ROS2_HUMBLE)
_BASE, _NAME, _ARRAY, _SEQUENCE = 1, 2, 3, 4  # rosbags' kinds of fields
_RANGES = {f"{sign}int{bits}": (sign, bits) for sign in ("u", "") for bits in (8, 16, 32, 64)}
_CODES = {"uint8": "B", "float64": "d"}  # of array.array; those of our messages
_made: dict[str, type] = {}


class Message:
    """What all have in common. Each class has its fields, and no others."""

    __slots__ = ()
    _name = ""

    def __init__(self, **fields: Any) -> None:
        for name, kind in self._kinds().items():
            setattr(self, name, fields.pop(name) if name in fields else _initial(kind))
        assert not fields, f"no fields of {self._name}: {list(fields)}"

    @classmethod
    def get_fields_and_field_types(cls) -> dict[str, str]:
        """The names of the fields, and of their types."""
        return {name: str(kind) for name, kind in cls._kinds().items()}

    @classmethod
    def _kinds(cls) -> dict[str, Any]:
        return dict(_STORE.fielddefs[cls._name][1])

    def __setattr__(self, name: str, value: Any) -> None:
        kinds = self._kinds()
        if name not in kinds:
            raise AttributeError(f"{self._name} has no field {name}")
        object.__setattr__(self, name, _checked(kinds[name], value, f"{self._name}.{name}"))


def message_class(name: str) -> Any:
    """The class of a type, as "sensor_msgs/msg/Image"."""
    if name not in _made:
        slots = tuple(field for field, _ in _STORE.fielddefs[name][1])
        _made[name] = type(name.rpartition("/")[2], (Message,), {"__slots__": slots, "_name": name})
    return _made[name]


def to_cdr(message: Any) -> bytes:
    """What crosses the network, by rosbags."""
    return bytes(_STORE.serialize_cdr(_outside(message), message._name))


def from_cdr(data: bytes, kind: Any) -> Any:
    """A message as a subscription gives it."""
    return _inside(_STORE.deserialize_cdr(data, kind._name), kind)


def _outside(message: Any) -> Any:
    fields = {name: getattr(message, name) for name in message._kinds()}
    for name, value in fields.items():
        if isinstance(value, Message):
            fields[name] = _outside(value)
        elif isinstance(value, array):
            fields[name] = np.array(value)
        elif isinstance(value, list):
            fields[name] = [_outside(part) for part in value]
    return _STORE.types[message._name](**fields)


def _inside(read: Any, kind: Any) -> Any:
    message = kind()
    for name, (tag, detail) in kind._kinds().items():
        value = getattr(read, name)
        if tag == _NAME:
            value = _inside(value, message_class(detail))
        elif tag == _SEQUENCE and isinstance(value, list):
            value = [_inside(part, message_class(detail[0][1])) for part in value]
        elif tag == _SEQUENCE:
            value = array(_CODES[detail[0][1][0]], value.tobytes())
        setattr(message, name, value)
    return message


def _initial(kind: tuple[int, Any]) -> Any:
    tag, detail = kind
    if tag == _NAME:
        return message_class(detail)()
    if tag == _ARRAY:
        return np.zeros(detail[1], detail[0][1][0])
    if tag == _SEQUENCE:
        return [] if detail[0][0] == _NAME else array(_CODES[detail[0][1][0]])
    return {"string": "", "bool": False, "float64": 0.0, "float32": 0.0}.get(detail[0], 0)


def _checked(kind: tuple[int, Any], value: Any, where: str) -> Any:
    """The value as the field holds it."""
    tag, detail = kind
    if tag == _NAME:
        assert isinstance(value, message_class(detail)), f"{where}: must be a sub message of type {detail}"
        return value
    if tag == _BASE:
        return _checked_number(detail[0], value, where)
    (part, inner), length = detail
    if part == _NAME:
        assert isinstance(value, list), f"{where}: must be a list"
        assert all(isinstance(one, message_class(inner)) for one in value), f"{where}: must be of {inner}"
        return value
    if tag == _ARRAY:
        if isinstance(value, np.ndarray):
            assert value.dtype == inner[0], f"{where}: must have the dtype {inner[0]}"
        numbers = [_checked_number(inner[0], one, where) for one in np.asarray(value).tolist()]
        assert len(numbers) == length, f"{where}: must have {length} values"
        return np.array(numbers, inner[0])
    if isinstance(value, array):
        assert value.typecode == _CODES[inner[0]], f"{where}: must have the type code {_CODES[inner[0]]}"
        return value
    # rosidl takes bytes as well, and looks at each: a second for a picture.
    assert inner[0] != "uint8", f"{where}: is no array.array, which takes very long"
    assert isinstance(value, (list, tuple)), f"{where}: must be a sequence"
    return array(_CODES[inner[0]], [_checked_number(inner[0], one, where) for one in value])


def _checked_number(name: str, value: Any, where: str) -> Any:
    if name == "string":
        assert isinstance(value, str), f"{where}: must be of type str"
    elif name == "bool":
        assert isinstance(value, bool), f"{where}: must be of type bool"
    elif name in _RANGES:
        sign, bits = _RANGES[name]
        least, most = (0, 2**bits) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1))
        assert isinstance(value, int), f"{where}: must be of type int"
        assert least <= value < most, f"{where}: must be a {name}"
    else:
        assert isinstance(value, float), f"{where}: must be of type float"
        assert name == "float64" or math.isinf(value) or abs(value) < 3.5e38, f"{where}: must be a float32"
    return value
