"""What the web front end does with a project: books, and shows videos. Knows nothing of EZREC's code."""

from __future__ import annotations

import subprocess
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.supabase_server.fixture import Account, Project


@dataclass(frozen=True)
class FrontEnd:
    """One customer's view."""

    project: Project
    account: Account

    def book(self, start: datetime, end: datetime, **more: Any) -> str:
        """Enter a booking; returns its id."""
        row = self.row(start, end, **more)
        self.project.insert("bookings", row)
        return str(row["id"])

    def row(self, start: datetime, end: datetime, **more: Any) -> dict[str, Any]:
        times = {"date": start.date(), "start_time": start.isoformat(), "end_time": end.isoformat()}
        own = {"user_id": self.account.user_id, "camera_id": self.account.camera_id, "status": "confirmed"}
        return {"id": str(uuid.uuid4()), **own, **{name: str(text) for name, text in times.items()}, **more}

    def status(self, booking_id: str) -> str:
        [row] = self.project.select("bookings", id=f"eq.{booking_id}")
        return str(row["status"])

    def videos(self) -> list[dict[str, Any]]:
        """What it shows: the objects of the customer's folder that have a row, each with a signed URL."""
        user = self.account.user_id
        listed = self.project.request("POST", "/storage/v1/object/list/videos", json={"prefix": user})
        rows = {row["filename"]: row for row in self.project.select("videos", user_id=f"eq.{user}")}
        shown = []
        for found in listed:
            row = rows.get(found["name"])
            if row is not None and found["name"].endswith(".mp4"):
                path = f"/storage/v1/object/sign/videos/{user}/{found['name']}"
                signed = self.project.request("POST", path, json={"expiresIn": 600})
                url = f"{self.project.url}/storage/v1{signed['signedURL']}"
                shown.append({**row, "url": url, "size": found["metadata"]["size"]})
        return shown


def played_s(url: str) -> float:
    """Play what a signed URL gives, decoding every frame; the seconds of picture."""
    argv = ["ffprobe", "-v", "error", "-select_streams", "v", "-count_frames", "-show_entries"]
    argv += ["stream=nb_read_frames,r_frame_rate", "-of", "csv=p=0", url]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    rate, frames = done.stdout.strip().split(",")[:2]
    above, below = rate.split("/")
    return int(frames) * int(below) / int(above)
