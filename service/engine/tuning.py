"""The constants of the scheduler and its threads, each with the measurement that shows its effect.

The scenarios are those of ``python -m benchmarks.serving``; docs/measurements.md has their results. A constant
that is marked as chosen has no measurement of its own.
"""

PATIENCE = 8
"""An image waits at most for the time of this many own steps: for a step of another batch, or for the stems that the
other batch lets in. This limits the images in a batch. The costs that were measured turn the steps into seconds.

`python -m benchmarks.engine` shows the effect on the processor time per image, and scenario `mixed` the effect on the
latency of loose requests in a mix with tight ones. A larger limit serves more images per second and makes the loose
requests wait longer."""

DEADLINE_SHARE = 0.25
"""Share of the time until the earliest deadline that a step, or the stems of an iteration, may take; but a deadline
makes neither shorter than the time of `PATIENCE` own steps. Chosen: a solve at a loose tolerance takes about three
iterations."""

LOOK_AHEAD = 16
"""An iteration passes over at most this many requests in a queue if their batches are full. Chosen: the next iteration
passes over the same requests again, so a limit keeps iterations short."""

BROWN_OUT_FROM, BROWN_OUT_TO = 0.05, 0.5
"""Fullness of the queue, 0..1, from which images are solved more loosely, and at which they are solved by the loosest
candidate.

Scenario `ten` shows the effect at up to ten times the peak load: requests that allow degradation are solved more
loosely long before the service refuses any of them."""

SPREAD, FIRST_SPREAD, LARGEST_SPREAD = 0.98, 1.5, 4.0
"""Quantile of the measured time of a solve, relative to its estimate, that a deadline leaves time for; the ratio before
anything was measured; and its limit.

`python -m benchmarks.serving.deadlines` shows the effect: the share of answers in time."""

AFTER_SOLVE = 0.98
"""Quantile of the measured time after the solve that a deadline leaves, to write the answer. Chosen."""

QUANTILE_RATE = 0.05
"""Relative change of an estimated quantile with a larger value. Chosen: it covers about the last hundred values."""

RESERVE = 5e-4
"""Seconds before a deadline in which the answer is sent, which the service cannot measure.

Scenario `deadline` shows the effect: it counts the answers in time by the service's clock and by the caller's."""

BATCH_SMOOTHING = 0.1
"""Weight of the newest iteration in the estimated time of a batch's iteration. Chosen: an average over about ten
iterations, which take 10 to 30 ms."""

PACE_MEMORY = 0.98
"""Factor on the past, for each further iteration, in the pace. Chosen: an average over about fifty iterations, which
covers the batches that take turns, and the refusals between them."""

SWITCH_SECONDS = 1e-4
"""Longest time that Python lets one thread keep another thread waiting for its lock (`sys.setswitchinterval`).

Measured against Python's default of 5 ms: there, a busy event loop holds up the engine between two steps for longer
than the steps take."""

EXPECT_SECONDS = 2e-3
"""Longest time that an iteration in the event loop waits for requests whose bytes are being read. Chosen: about as long
as an iteration takes.

`python -m benchmarks.serving.rpc` shows the effect: the number of images in a batch over gRPC."""

MORE_TURNS = 10
"""Turns of the event loop for which an iteration waits after an expected request has arrived. gRPC accepts the calls of
a connection one after another, each some turns after the call before it.

`python -m benchmarks.serving.rpc` shows the effect: the number of images in a batch over one connection."""

LONGEST_ITERATION = 30.0
"""Seconds after which an iteration is taken to hang. Chosen: an iteration takes milliseconds."""
