"""Which topic of a recording is meant."""

from __future__ import annotations

from collections.abc import Sequence

from vmdepth_runtime.depth_kinds import DEPTH_KINDS
from vmdepth_runtime.encoding import ros_messages
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.recordings.images import DEPTH, is_picture
from vmdepth_runtime.sources.recordings.message_types import COMPRESSED, IMAGE, POINTS
from vmdepth_runtime.sources.recordings.recording import RecordedMessage, Recording, Topic

_COLOURS = {ros_messages.colours_topic(kind) for kind in DEPTH_KINDS.values()}
UNITLESS = tuple(
    topic(kind).removeprefix("/vmdepth")  # which is the node's name, and may be another
    for kind in DEPTH_KINDS.values()
    for topic in (ros_messages.depth_topic, ros_messages.points_topic)
    if kind.unit != "m"
)
"""How topics end where a run or the node tells depth that is no metres."""
_TOLD = 12  # topics that an error lists at most


def first_of(recording: Recording, topic: Topic) -> RecordedMessage | None:
    """Its first message that can be read; None where there is none."""
    return next((told for told in recording.messages(topic.name) if told.message is not None), None)


def picture_topic(recording: Recording, path: str, wanted: str | None) -> Topic:
    """The topic whose pictures are a source's frames.

    Args:
        recording: open.
        path: of it, for people.
        wanted: what was asked for; None: the only one, but for depth in colours, as a run records it.

    Raises:
        InputError: it is not there or holds no pictures, or several do; lists those that there are.
    """
    pictures = [topic for topic in _filled(recording, (IMAGE, COMPRESSED)) if _shows(recording, topic, depth=False)]
    if wanted is not None:
        return _wanted(recording, path, wanted, pictures, "pictures")
    if not pictures:
        raise InputError(f"{path}: none of its topics has pictures (Image or CompressedImage); {_there(recording)}")
    meant = [topic for topic in pictures if topic.name not in _COLOURS] or pictures
    if len(meant) > 1:
        raise InputError(f"{path}: {len(meant)} of its topics have pictures; --topic takes one: {_listed(meant)}")
    return meant[0]


def depth_topic(recording: Recording, path: str, wanted: str | None) -> Topic:
    """The topic whose depth, dense or points, is the truth. Arguments and errors as of `picture_topic`. What is no
    metres, as a run records it, is given where it is named or nothing else is there: who reads it says why not."""
    dense = [topic for topic in _filled(recording, (IMAGE, COMPRESSED)) if _shows(recording, topic, depth=True)]
    depth = [*dense, *_filled(recording, (POINTS,))]
    meant = [topic for topic in depth if topic.name == wanted or not topic.name.endswith(UNITLESS)]
    if wanted is not None:
        return _wanted(recording, path, wanted, meant, "depth in metres")
    found = [topic for topic in meant if topic.type != POINTS] or meant or depth
    if not found:
        missing = "none of its topics has depth in metres (16UC1, 32FC1 or PointCloud2)"
        raise InputError(f"{path}: {missing}; {_there(recording)}")
    if len(found) > 1:
        raise InputError(f"{path}: {len(found)} of its topics have depth; name one of them: {_listed(found)}")
    return found[0]


def _wanted(recording: Recording, path: str, wanted: str, fit: Sequence[Topic], what: str) -> Topic:
    found = next((topic for topic in fit if topic.name == wanted), None)
    if found is not None:
        return found
    there = recording.topics.get(wanted)
    why = "is not in it"
    if there is not None:
        why = f"has no message in it ({there.type})" if there.count == 0 else f"holds no {what} ({there.type})"
    instead = f"those with {what} are {_listed(fit)}" if fit else _there(recording)
    raise InputError(f"{path}: the topic {wanted} {why}; {instead}")


def _filled(recording: Recording, types: Sequence[str]) -> list[Topic]:
    return [topic for topic in recording.topics.values() if topic.type in types and topic.count > 0]


def _shows(recording: Recording, topic: Topic, *, depth: bool) -> bool:
    """Whether it is depth in metres, or pictures. What cannot be read is taken for pictures: who reads it will be
    told why."""
    first = first_of(recording, topic)
    if first is None:
        return not depth
    if is_picture(topic.type, first.message):
        return not depth
    named = first.message.encoding if topic.type == IMAGE else first.message.format
    return depth and DEPTH.match(named) is not None and not (topic.type == IMAGE and ";" in named)


def _there(recording: Recording) -> str:
    if recording.topics:
        return f"it has {_listed(list(recording.topics.values()))}"
    why = f" ({recording.broken})" if recording.broken else ""
    return f"it has no topic at all{why}"


def _listed(topics: Sequence[Topic]) -> str:
    told = [str(topic) for topic in sorted(topics, key=lambda topic: topic.name)]
    more = [f"and {len(told) - _TOLD} more"] if len(told) > _TOLD else []
    return ", ".join([*told[:_TOLD], *more])
