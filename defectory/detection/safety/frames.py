"""The images of each camera in their order, and how long rules have been broken on them: a table in DynamoDB.

```
camera    sort_key                                   what
dock 1    frame#2026-11-21T11:59:00.000Z#<key>#<id>  an image; `state` once it is settled, and the rules `broken`
dock 1    rule#hard hats                             when people were last told of the rule, and by which image
```

An image is registered when its upload is taken up, and settled when its detections are known.  A camera's images are
worked on at the same time and out of order; one that is registered and not settled yet ends a run on either side, and
whichever of a run is settled last sees the whole of it.  So the order in which they are settled, and settling one
twice, change nothing.  One that cannot be judged is passed over: it neither ends a run nor lengthens it.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from botocore.client import BaseClient

from defectory.aws.dynamodb import Table
from defectory.line.records import timestamp

PARTITION, SORT = "camera", "sort_key"

KEPT = timedelta(days=16)
"""How long images and alerts are remembered: longer than two may be apart."""

MOST_READ = 2000
"""Images that are read on either side of one; some may have to be passed over."""

_KEY_SHOWN = 200
# Beyond any image of the moment that it follows.
_LAST = "~"


@dataclass(frozen=True, slots=True)
class Frame:
    """An image of a camera: its camera, and what orders it: when it was uploaded, then its key, then its id."""

    camera: str
    uploaded_at: datetime
    key: str
    inspection_id: str

    @classmethod
    def of(cls, camera: str, uploaded_at: str, key: str, inspection_id: str) -> Self:
        """The image uploaded at ``uploaded_at``, ISO 8601."""
        return cls(camera, datetime.fromisoformat(uploaded_at), key, inspection_id)

    @property
    def sort_key(self) -> str:
        """Its place among the camera's images."""
        return f"{_moment(self.uploaded_at)}#{self.key[-_KEY_SHOWN:]}#{self.inspection_id}"


class FrameTable:
    """Images and alerts by camera.  Every method may raise ``ServiceError``."""

    def __init__(self, name: str, client: BaseClient | None = None) -> None:
        self._table = Table(name, client)

    def register(self, frame: Frame, now: datetime) -> None:
        """Say that ``frame`` is there and not judged yet; again changes nothing."""
        item = {**_key(frame.camera, frame.sort_key), "expires_at": _expiry(now)}
        self._table.put(f"register {frame.key}", item, f"attribute_not_exists({SORT})", {})

    def settle(self, frame: Frame, broken: Collection[str] | None, *, attempt: int, now: datetime) -> None:
        """Say which rules are ``broken`` on ``frame``, None if it could not be judged; a later attempt wins."""
        values = {
            ":state": "VOID" if broken is None else "JUDGED",
            ":broken": sorted(broken or ()),
            ":attempt": attempt,
            ":expiry": _expiry(now),
        }
        self._table.update(
            f"settle {frame.key}",
            _key(frame.camera, frame.sort_key),
            "SET #state = :state, broken = :broken, attempt = :attempt, expires_at = :expiry",
            "attribute_not_exists(attempt) OR attempt <= :attempt",
            values,
            {"#state": "state"},
        )

    def count_run(self, frame: Frame, rule: str, *, enough: int, within: timedelta) -> int:
        """How many images in a row show ``rule`` broken, ``frame``, which does, included; at most ``enough``."""
        count = 1
        for earlier in (True, False):
            if count < enough:
                count += self._count_on_side(frame, rule, enough - count, within, earlier=earlier)
        return count

    def claim_alert(self, frame: Frame, rule: str, *, repeat: timedelta, now: datetime) -> bool:
        """Take it on ``frame`` to tell people of ``rule``; False if another did less than ``repeat`` before it."""
        return self._table.update(
            f"claim the alert of {rule!r}",
            _key(frame.camera, f"rule#{rule}"),
            "SET alerted_at = :moment, alerted_by = :frame, expires_at = :expiry",
            "attribute_not_exists(alerted_at) OR alerted_at <= :before OR alerted_by = :frame",
            {
                ":moment": timestamp(frame.uploaded_at),
                ":before": timestamp(frame.uploaded_at - repeat),
                ":frame": frame.inspection_id,
                ":expiry": _expiry(now),
            },
        )

    def _count_on_side(self, frame: Frame, rule: str, most: int, within: timedelta, *, earlier: bool) -> int:
        count = 0
        for item in itertools.islice(self._neighbours(frame, most, within, earlier=earlier), MOST_READ):
            match item.get("state"):
                case "VOID":
                    continue
                case "JUDGED" if rule in item["broken"]:
                    count += 1
                case _:
                    break
            if count == most:
                break
        return count

    def _neighbours(self, frame: Frame, most: int, within: timedelta, *, earlier: bool) -> Iterator[Mapping[str, Any]]:
        """The images before or after ``frame``, the nearest first, as they are now."""
        if earlier:
            first, last = _moment(frame.uploaded_at - within), frame.sort_key
        else:
            first, last = frame.sort_key, _moment(frame.uploaded_at + within) + _LAST
        items = self._table.query(
            f"look for images beside {frame.key}",
            None,
            f"{PARTITION} = :camera AND {SORT} BETWEEN :first AND :last",
            {":camera": frame.camera, ":first": first, ":last": last},
            ScanIndexForward=not earlier,
            ConsistentRead=True,
            # Itself, and one more that may have to be passed over.
            Limit=most + 2,
        )
        return (item for item in items if item[SORT] != frame.sort_key)


def _key(camera: str, sort_key: str) -> dict[str, Any]:
    return {PARTITION: camera, SORT: sort_key}


def _moment(moment: datetime) -> str:
    return f"frame#{timestamp(moment)}"


def _expiry(now: datetime) -> int:
    return int((now + KEPT).timestamp())
