"""Online: an HTTP service over fitted artifacts. Knows `models`, never `training`."""
