"""Catalog x shot list minus what the ledger already has = what to make, and what it costs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

from packshot.catalog import CatalogOptions, CatalogReader
from packshot.catalog.model import Product, Reject
from packshot.db.catalog_diff import Identity, Picture, identity
from packshot.db.runs import PlannedProduct
from packshot.db.types import JobState
from packshot.download import DownloadPolicy
from packshot.errors import ArchiveError, Code, ConfigError, PackshotError
from packshot.inputs.catalog_file import ChosenCatalog, choose_catalog
from packshot.inputs.sources import sources_of
from packshot.memory import set_aside
from packshot.options import RunOptions
from packshot.picture import picture_of
from packshot.plan_result import NOT_TO_MAKE, Plan
from packshot.references import ReferenceStore
from packshot.selection import Selection
from packshot.settings import Settings
from packshot.shots import ImageJob, Reference, Shot, ShotList, jobs_for, load_shot_list
from packshot.shots.product_text import ProductText

BATCH = 1000  # images planned, and stored, at once: so many prompts are in memory
SMALL_BATCH = 100  # products, where photos are read first, or each has many images; a stop is heard between batches
PHOTO_READERS = 8  # products whose photos are read at once
NOTES = 20  # shown; a catalog full of dead photo links must not fill the log

Lookup = Callable[[Sequence[str]], dict[str, JobState]]
"""The states of those jobs, by key, that the ledger knows."""
Store = Callable[
    [Sequence[PlannedProduct], Sequence[Reject], Mapping[Identity, Picture]], Mapping[str, JobState] | None
]
"""Keeps a batch; what a dry plan leaves out. The third says what decides the pictures of its products. Returns the
states of its jobs, where it came across them."""

Photos = tuple[list[Reference], dict[str, str]]
"""Those that were read, and of the others what is wrong with them."""

_Planned = tuple[Product, ProductText, list[ImageJob]]

_NO_PHOTOS: Photos = ([], {})

_ENDS_EARLY = (Code.OPEN_QUOTE, Code.BAD_XML, Code.FILE_DAMAGED)
"""Behind such a record there may have been more."""


def catalog_of(options: RunOptions) -> ChosenCatalog:
    """The catalog that the run's options mean, and how to read it.

    Fields at their defaults say nothing, because the form in the Prefect UI sends all of them: so a ``catalog.yaml``
    keeps its word about what a person left as it was.

    Raises:
        ConfigError: an option is wrong, or a catalog file that was named or found is.
    """
    given = options.model_dump(include=set(CatalogOptions.model_fields), exclude_defaults=True)
    if options.image_separator:
        given["split"] = {"image_refs": options.image_separator}
    return choose_catalog(options.catalog, given)


class Planner:
    """Reads the catalog and the shot list that the options and settings name.

    Raises:
        ConfigError: the catalog or the shot list cannot be used, or a model has no price. Nothing was changed.
    """

    def __init__(self, settings: Settings, options: RunOptions) -> None:
        self._settings = settings
        self._options = options
        listed = load_shot_list(settings.shots)
        chosen = listed.select(options.shots) if options.shots else listed
        sends_photos = settings.apiyi_format == "gemini"
        self.shots: ShotList = chosen if sends_photos else chosen.without_photos()
        self.notes: list[str] = []
        self._refused = 0  # pictures that a product lacks something for
        if self.shots.hash != chosen.hash:
            self.notes.append("product photos are not sent: the images format cannot; see PACKSHOT_APIYI_FORMAT")
        large = [s.name for s in self.shots.shots if s.image_size != "1K" and self._model(s) == "nano-banana-pro"]
        if large and not sends_photos:
            # Reported by users in July 2026; APIYI documents this model name nowhere.
            self.notes.append(
                f"{', '.join(large)}: nano-banana-pro is said to answer the images format in 1K whatever is ordered; "
                "such images are paid for, kept, and held as wrong_size. Try --limit 1 first"
            )
        self._sends_photos = any(shot.references for shot in self.shots.shots)
        images = sum(shot.variants for shot in self.shots.shots)
        self._batch_size = SMALL_BATCH if self._sends_photos else max(SMALL_BATCH, BATCH // images)
        self._prices = {model: settings.price_micro(model) for model in map(self._model, self.shots.shots)}
        chosen_catalog = catalog_of(options)
        self.notes += chosen_catalog.notes
        self._folder = chosen_catalog.folder
        self.reader: CatalogReader = CatalogReader(sources_of(chosen_catalog.source, settings), chosen_catalog.options)
        self.photos = ReferenceStore(settings.home, DownloadPolicy.from_settings(settings), settings.max_pixels)

    def plan(self, lookup: Lookup, store: Store | None = None) -> Plan:
        """Go through the catalog in batches and constant memory; each batch goes to ``store``, where one is given.

        Raises:
            ConfigError: a product or category that was asked for is not there, or no shot is for what was chosen.
        """
        plan = Plan(self.reader.name)
        selection = Selection(self._options.products, self._options.categories)
        products: list[Product] = []
        rejects: list[Reject] = []
        with ThreadPoolExecutor(PHOTO_READERS) as pool, set_aside():
            for item in self.reader:
                if isinstance(item, Reject):
                    rejects.append(item)
                elif selection.takes(item):
                    products.append(item)
                if len(products) + len(rejects) >= self._batch_size:
                    self._batch(plan, products, rejects, pool, lookup, store)
                    if self._limit_reached(plan):
                        break
            self._batch(plan, products, rejects, pool, lookup, store)
        if not self._limit_reached(plan):
            selection.check()
            self._check_shots(plan, selection)
        if self._limit_reached(plan):
            plan.read_in_part = "the run ended at its limit"
        elif self._options.products or self._options.categories:
            plan.read_in_part = "the run was for a part of the catalog"
        plan.counts = self.reader.counts
        plan.left_out = selection.left_out
        plan.notes += [*self.notes[:NOTES], *self.reader.notes, *filter(None, [selection.note])]
        if len(self.notes) > NOTES:
            plan.notes.append(f"and {len(self.notes) - NOTES} more notes like these")
        if plan.without_photo:
            plan.notes.append(
                f"{plan.without_photo} images do without a photo that cannot be read, as PACKSHOT_ON_DEAD_PHOTO says"
            )
        if self.photos.shelf_problem:
            plan.notes.append(
                f"product photos are not kept in the bucket this time: {self.photos.shelf_problem}; "
                "see PACKSHOT_REFERENCE_PREFIX"
            )
        if self._limit_reached(plan):
            plan.notes.append(f"planning ended at the limit of {self._options.limit} new images")
        return plan

    def _batch(
        self,
        plan: Plan,
        products: list[Product],
        rejects: list[Reject],
        pool: ThreadPoolExecutor,
        lookup: Lookup,
        store: Store | None,
    ) -> None:
        """Plan the products collected so far, and empty both lists."""
        photos = pool.map(self._read_photos, products) if self._sends_photos else repeat(_NO_PHOTOS, len(products))
        planned: list[_Planned] = []
        for product, read in zip(products, photos, strict=True):
            texts = ProductText(product)
            planned.append((product, texts, self._jobs(product, texts, read, rejects)))
        if self._options.limit:
            known = lookup([job.key for _, _, jobs in planned for job in jobs])
            planned = _cut(planned, known, self._options.limit - plan.to_make)
        kept = [(product, jobs) for product, _, jobs in planned]
        pictures = {identity(product): picture_of(product, texts, jobs) for product, texts, jobs in planned}
        states = store(kept, rejects, pictures) if store else None
        if states is None:
            states = lookup([job.key for _, jobs in kept for job in jobs])
        for product, jobs in kept:
            for job in jobs:
                plan.add(job, product.category, _state(job, states), self._prices[job.model])
        if any(reject.code in _ENDS_EARLY for reject in rejects):
            plan.read_in_part = "the catalog ends early"
        plan.first_rejects += rejects[: 100 - len(plan.first_rejects)]
        products.clear()
        rejects.clear()

    def _check_shots(self, plan: Plan, selection: Selection) -> None:
        """A person who chose something and gets nothing is told why, rather than that all went well."""
        options = self._options
        asked = options.products or options.categories or options.shots
        if asked and selection.chosen and not plan.jobs and not self._refused:
            raise ConfigError(
                Code.SHOTS_INVALID,
                f"the shots {', '.join(self.shots.names)} are for none of the {selection.chosen} products chosen, "
                "as their `when` says",
            )

    def _jobs(self, product: Product, texts: ProductText, photos: Photos, rejects: list[Reject]) -> list[ImageJob]:
        jobs: list[ImageJob] = []
        model = self._settings.model
        archetype = self.shots.choose(product).archetype
        for shot in self.shots.shots:
            try:
                planned = jobs_for(product, shot, archetype, *photos, model, self.shots.hash, self._goes_without, texts)
                jobs += [_remarked(job, photos[1]) for job in planned] if photos[1] else planned
            except PackshotError as error:
                self._refused += 1
                rejects.append(
                    Reject(product.source, product.record, product.line, product.name, error.code, error.message)
                )
        return jobs

    def _read_photos(self, product: Product) -> Photos:
        """The photos that any shot of this product sends: those read, and those that could not be."""
        archetype = self.shots.choose(product).archetype.name
        wanted = dict.fromkeys(
            photo
            for shot in self.shots.shots
            if shot.applies_to(product, archetype)
            for photo in shot.photos_of(product)
        )
        read: list[Reference] = []
        missing: dict[str, str] = {}
        for photo in wanted:
            try:
                read.append(self._photo(photo))
            except PackshotError as error:
                if error.code is not Code.REFERENCE_UNAVAILABLE:  # a full disk says nothing about the photo
                    raise
                missing[photo] = error.message
                how = "goes on without" if self._goes_without else "is held"
                self.notes.append(f"product {product.name} {how}: {error.message}")
        return read, missing

    def _photo(self, ref: str) -> Reference:
        if self._folder is not None:
            return self.photos.get(ref, self._folder)
        if not ref.lower().startswith(("http://", "https://")):
            why = "a relative path, and the catalog lies in no folder: media_root in catalog.yaml says where it starts"
            raise ArchiveError(Code.REFERENCE_UNAVAILABLE, f"the photo {ref} is {why}")
        return self.photos.get(ref, Path())

    def _model(self, shot: Shot) -> str:
        return shot.model or self._settings.model

    @property
    def _goes_without(self) -> bool:
        return self._settings.on_dead_photo == "without"

    @property
    def reading(self) -> str:
        """A hash of how the catalog is read: readings with another one may find other products in the same file."""
        options = json.dumps(self.reader.options.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(options.encode()).hexdigest()[:16]

    def _limit_reached(self, plan: Plan) -> bool:
        return bool(self._options.limit) and plan.to_make >= self._options.limit


def _state(job: ImageJob, known: Mapping[str, JobState]) -> JobState:
    return JobState.HELD if job.missing_references else known.get(job.key, JobState.PLANNED)


def _cut(planned: Sequence[_Planned], known: Mapping[str, JobState], most: int) -> list[_Planned]:
    """As much of it as has ``most`` images to make."""
    kept = []
    for product, texts, jobs in planned:
        if most <= 0:
            break
        within = []
        for job in jobs:
            if most <= 0:
                break
            within.append(job)
            most -= _state(job, known) not in NOT_TO_MAKE
        kept.append((product, texts, within))
    return kept


def _remarked(job: ImageJob, problems: Mapping[str, str]) -> ImageJob:
    """The job with what is wrong with the photos that it lacks."""
    lacking = job.missing_references or job.left_out
    return job._replace(remark="; ".join(problems[photo] for photo in lacking)) if lacking else job
