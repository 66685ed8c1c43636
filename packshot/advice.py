"""What limited a run, and which setting to raise: a sentence that follows from its figures alone."""

from __future__ import annotations

from packshot.figures import Figures, duration, percent
from packshot.stopwatch import Step, Use

TOLERABLE = 0.1  # of the slots' time: a loss below this is no limit
FULL = 0.8  # of one processor: a Python process hardly gets beyond one
FEW = 10  # calls for each slot: with fewer, the beginning and the end are most of a run
HARDLY_ANY = 2  # calls for each slot: with fewer, there is nothing but beginning and end


def sentence(figures: Figures) -> str:
    """``61.2 images a minute, call slots busy 97 % of the time. The provider is the limit: ...``"""
    busy = f", call slots busy {percent(figures.share(Use.CALLS))} of the time" if figures.calls else ""
    return f"{figures.images_a_minute:.1f} images a minute{busy}. {advice(figures)}".rstrip()


def advice(figures: Figures) -> str:
    """What limited the run, and which setting to raise: one or two sentences, none where too few calls were made."""
    if not says_something(figures):
        return ""
    waited, worked = figures.steps[Step.LIMIT].seconds, figures.steps[Step.WORK].seconds
    if waited > max(worked, 1.0):
        return (
            f"It waited {duration(waited)} for slots of the limit that all runs share, which other runs held: raise "
            "that limit with `prefect gcl update`, or run them one after another."
        )
    loss = max(list(Use)[1:], key=figures.share)
    if figures.share(loss) < TOLERABLE:
        return _provider(figures)
    return f"{_LOSSES[loss](figures)}."


def says_something(figures: Figures) -> bool:
    """Are there calls enough to speak of a limit?"""
    return figures.calls >= HARDLY_ANY * figures.slots * figures.processes


def _provider(figures: Figures) -> str:
    if figures.rate_limited:
        return (
            f"The provider is the limit, and it answered 429 {_times(figures.rate_limited)}: "
            "ask it for more before you raise PACKSHOT_CONCURRENCY."
        )
    now = f"now {figures.slots}" + (f" in each of {figures.processes} processes" if figures.processes > 1 else "")
    return f"The provider is the limit: for more, raise PACKSHOT_CONCURRENCY ({now}) and the limit that all runs share."


def _held_back(figures: Figures) -> str:
    lost = f"calls were held back for {percent(figures.share(Use.HELD_BACK))} of the slots' time"
    if figures.rate_limited:
        many = _times(figures.rate_limited)
        return f"The provider answered 429 {many}, and {lost}: lower PACKSHOT_CONCURRENCY, or ask it for more"
    return f"The provider failed again and again, and {lost}: see what the failed calls say, or run later"


def _starting(figures: Figures) -> str:
    lost = f"slots waited {percent(figures.share(Use.STARTING))} of their time for calls to be written down and sent"
    written = figures.steps[Step.TAKEN].seconds - figures.steps[Step.CALL].seconds
    if figures.processors < FULL and written > figures.slot_seconds[Use.STARTING] / 2:
        return _database(figures, lost)
    return f"{_PROCESSOR}: {lost}; {_MORE}"


def _homeward(figures: Figures) -> str:
    lost = f"slots stood empty {percent(figures.share(Use.HOMEWARD))} of their time, because images were not home yet"
    if figures.processors >= FULL:
        return f"{_PROCESSOR}: {lost}; {_MORE}"
    steps = figures.steps
    home = sum(steps[step].seconds for step in (Step.ARCHIVER, *_HOME))
    if steps[Step.DATABASE].seconds > home:
        return _database(figures, lost)
    slowest = max(_HOME, key=lambda step: steps[step].seconds)
    return f"{_HOME[slowest].format(duration(steps[slowest].mean))}: {lost}; {_HELPS[slowest]}"


def _no_image(figures: Figures) -> str:
    lost = f"slots had no image to make for {percent(figures.share(Use.NO_IMAGE))} of their time"
    slots = figures.slots * figures.processes
    if figures.calls < FEW * slots:
        calls = "1 call" if figures.calls == 1 else f"{figures.calls} calls"
        return f"Too short to tell: {lost}, which is the beginning and the end of {calls} in {slots} slots"
    if figures.processors >= FULL:
        return f"{_PROCESSOR}: {lost}; {_MORE}"
    return f"Images were started too slowly, or waited for another try: {lost}; {_MORE}"


def _database(figures: Figures, lost: str) -> str:
    mean = duration(figures.steps[Step.DATABASE].mean)
    helps = _ANOTHER_DATABASE if figures.database == "sqlite" else "use one that is nearer, or has a faster disk"
    return f"The database is slow, {mean} for each write: {lost}; {helps}"


_ANOTHER_DATABASE = "use PostgreSQL (PACKSHOT_DATABASE_URL)"
_PROCESSOR = "The processor is the limit"
_MORE = "spread the run over more processes (--workers) or machines"
_HOME = {
    Step.DOWNLOAD: "Downloads are slow, {} each",
    Step.CHECK: "Checking images is slow, {} each",
    Step.UPLOAD: "The bucket is slow, {} for an image",
}
_HELPS = {
    Step.DOWNLOAD: f"run nearer to where the provider keeps its images, or {_MORE}",
    Step.CHECK: f"use a faster machine, or {_MORE}",
    Step.UPLOAD: f"use a bucket in a nearer region, or {_MORE}",
}
_LOSSES = {
    Use.STARTING: _starting,
    Use.HELD_BACK: _held_back,
    Use.HOMEWARD: _homeward,
    Use.NO_IMAGE: _no_image,
}


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"
