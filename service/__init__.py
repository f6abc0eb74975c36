"""Online: an HTTP service over fitted artifacts. Knows `models`, never `training`."""

VERSION = "0.1.0"
