"""Settings from the environment and ``.env``; every variable starts with ``PACKSHOT_``.

``load_settings()`` is the one way in: a wrong value becomes one clear error that names the variable, what was read
(never a secret) and what is allowed.
"""

from __future__ import annotations

import json
import os
import re
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from packshot.errors import Billed, Code, ConfigError

PREFIX = "PACKSHOT_"
ENV_FILE = "PACKSHOT_ENV_FILE"

# APIYI pricing page, 2026: US dollars a call, any size; billed per call.
DEFAULT_PRICES = {
    "nano-banana-pro": Decimal("0.09"),
    "gemini-3-pro-image": Decimal("0.09"),
    "gemini-3-pro-image-preview": Decimal("0.09"),
    "gemini-3.1-flash-image": Decimal("0.055"),
    "gemini-3.1-flash-image-preview": Decimal("0.055"),
    "gemini-3.1-flash-lite-image": Decimal("0.025"),
    "gemini-2.5-flash-image": Decimal("0.02"),
}

Policy = Literal["retry", "hold"]
StoreProfile = Literal["aws", "r2", "oss", "b2", "seaweedfs", "generic"]
CommaList = Annotated[tuple[str, ...], NoDecode]
Price = Annotated[Decimal, Field(ge=0)]
Wait = Annotated[float, Field(ge=0)]


class RetryRule(BaseModel):
    """What PACKSHOT_RETRY says of one code; what it leaves out stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    retries: int | None = Field(None, ge=0, le=20)
    waits: tuple[Wait, ...] | None = Field(None, min_length=1)


class Settings(BaseSettings):
    """Everything that can be set. Times are seconds, money is US dollars, sizes are bytes. Empty means not set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, allow_inf_nan=False
    )

    # --- where state lives ------------------------------------------------------------------------------------
    home: Path = Field(Path(".packshot"), description="Folder for the database, the spool and the sandbox's data")
    database_url: str = Field("", repr=False, description="SQLAlchemy URL; empty means SQLite at HOME/packshot.db")

    # --- the image API ----------------------------------------------------------------------------------------
    apiyi_key: SecretStr | None = Field(None, description="The sk-... key; a secret")
    apiyi_system_token: SecretStr | None = Field(None, description="Account token for balance and log; a secret")
    apiyi_base_url: AnyHttpUrl = Field(
        AnyHttpUrl("https://api.apiyi.com"), description="Scheme, host and port of the API"
    )
    apiyi_format: Literal["images", "gemini"] = Field(
        "images", description="Wire format: /v1/images/generations, or Gemini's :generateContent (photos need it)"
    )
    apiyi_response: Literal["url", "b64_json"] = Field("url", description="images format: temporary URL or base64")
    apiyi_model: str = Field("", description="Model of shots that name none; empty means the format's usual one")
    prices: Annotated[dict[str, Price], NoDecode] = Field(
        default_factory=dict,
        description="JSON: model -> dollars a call; added to the built-in prices, or replacing them",
    )
    concurrency: int = Field(5, ge=1, le=500, description="Calls in flight at once in one process; APIYI allows 30")
    provider_limit: str = Field(
        "packshot-provider",
        pattern=r"^[\w-]+$",
        description="Prefect's global concurrency limit that all runs with this key share",
    )
    provider_slots: int | None = Field(
        None, ge=1, description="Its size when it is first made; empty means CONCURRENCY. Later: prefect gcl update"
    )
    shard_size: int = Field(
        900,
        ge=1,
        le=1000,
        description="Images of one flow run; larger runs are cut. The Prefect UI shows up to 1,000 well",
    )
    connect_timeout: float = Field(10, gt=0, description="Reaching the API")
    first_byte_timeout: float = Field(300, gt=0, description="Waiting for the answer at 1K and 2K")
    first_byte_timeout_4k: float = Field(600, gt=0, description="Waiting for the answer at 4K")
    silence_timeout: float = Field(30, gt=0, description="Longest silence once the answer has begun")
    stall_grace: float = Field(5, gt=0, description="Silence after which a complete answer is used as it is")
    total_timeout: float = Field(900, gt=0, description="A call ends after this, whatever it is doing")
    url_lifetime: float = Field(86_400, gt=0, description="Assumed life of a temporary URL that names no end")
    on_unknown: Policy = Field("retry", description="A call of unknown outcome: buy again once, or hold")
    on_refusal: Policy = Field("hold", description="A billed safety refusal: buy again once, or hold")
    on_no_image: Policy = Field("retry", description="A billed answer without an image: buy again once, or hold")
    on_wrong_size: Literal["accept", "hold"] = Field("hold", description="Other pixels than ordered: accept, or hold")
    on_lost: Policy = Field("hold", description="A paid image whose URL died before it was fetched: buy again, or hold")
    on_dead_photo: Literal["hold", "without"] = Field(
        "hold", description="A product photo that cannot be read: hold the image, or make it without that photo"
    )
    max_tries: int = Field(6, ge=1, le=20, description="Calls for one image in one run, those not billed included")
    max_archive_tries: int = Field(8, ge=1, le=50, description="Attempts to archive one image in one run")
    backoff: Annotated[tuple[Wait, ...], NoDecode] = Field(
        (5, 15, 45), min_length=1, description="Waits before the next try, comma-separated; the last one repeats"
    )
    retry: Annotated[dict[str, RetryRule], NoDecode] = Field(
        default_factory=dict,
        description='JSON: error code -> retries and waits, e.g. {"rate_limited": {"retries": 9, "waits": [5, 60]}}',
    )
    failures_before_pause: int = Field(5, ge=2, description="Failed calls in a row after which all calls pause")
    pause: float = Field(30, ge=0, description="That pause; it doubles while nothing but failures come")
    provider_patience: float = Field(1800, ge=0, description="A run ends after this long without an image")
    lease: float = Field(300, ge=1, description="A claim not renewed for this long counts as abandoned")
    drain_timeout: float | None = Field(
        None, ge=0, description="How long a stopping run waits for its calls; empty: TOTAL_TIMEOUT"
    )
    database_patience: float = Field(600, ge=0, description="Trying to reach a database that went away during a run")

    # --- bringing images home ---------------------------------------------------------------------------------
    download_hosts: CommaList = Field(
        (".aliyuncs.com", ".copilotbase.com", ".bfl.ai", ".bytepluses.com"),
        description="Hosts temporary URLs may point to: a name, or a suffix that starts with a dot; * for any",
    )
    download_cidrs: CommaList = Field((), description="Private ranges that may be fetched from, e.g. 198.18.0.0/15")
    download_timeout: float = Field(120, gt=0, description="One download, all of it")
    download_max_bytes: int = Field(64 * 1024 * 1024, gt=0, description="Largest image accepted")
    max_pixels: int = Field(60_000_000, gt=0, description="Most pixels an image may decode to")

    # --- permanent storage ------------------------------------------------------------------------------------
    s3_profile: StoreProfile = Field("generic", description="What the vendor can do: checksums, conditional writes")
    s3_endpoint_url: str = Field("", description="Empty for AWS")
    s3_region: str = Field("us-east-1", description="Region; `auto` for R2")
    s3_bucket: str = Field("", description="An existing bucket")
    s3_access_key_id: SecretStr | None = Field(None, description="Access key of the bucket; a secret")
    s3_secret_access_key: SecretStr | None = Field(None, description="Secret key of that access key; a secret")
    s3_addressing: Literal["", "path", "virtual"] = Field("", description="Empty: what the profile needs")
    s3_prefix: str = Field("pub", description="First part of every object key")
    s3_public_base_url: str = Field("", description="Public URL = this + / + key; empty: endpoint and bucket")
    reference_prefix: str = Field(
        "references",
        validate_default=True,
        description="Private part of the bucket, outside S3_PREFIX, for the product photos that are sent; off: none",
    )

    # --- the catalog ------------------------------------------------------------------------------------------
    catalog_max_bytes: int = Field(
        1 << 30, gt=0, description="Largest catalog that is fetched, and that a compressed one may unpack to"
    )
    catalog_database_url: SecretStr | None = Field(
        None, description="Of catalogs such as sql:products: postgresql://... or sqlite:///FILE, only read; a secret"
    )

    # --- what to make -----------------------------------------------------------------------------------------
    shots: Path | None = Field(None, description="Shot list (YAML); empty means the one that comes with packshot")
    max_cost_usd: Decimal | None = Field(None, ge=0, description="Most a run may spend; empty means no limit")
    max_cost_usd_per_day: Decimal | None = Field(
        None, ge=0, description="Most all runs together may spend on a day (UTC); empty means no limit"
    )

    @field_validator("download_hosts", "download_cidrs", "backoff", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        return tuple(p.strip() for p in value.split(",") if p.strip()) if isinstance(value, str) else value

    @field_validator("prices", "retry", mode="before")
    @classmethod
    def _read_json(cls, value: Any, info: ValidationInfo) -> Any:
        try:
            return json.loads(value, parse_float=Decimal) if isinstance(value, str) else value
        except ValueError:
            example = '{"nano-banana-pro": 0.09}' if info.field_name == "prices" else '{"rate_limited": {"retries": 9}}'
            raise ValueError(f"this is not JSON; allowed is, for example, {example}") from None

    @field_validator("retry")
    @classmethod
    def _known_codes(cls, rules: dict[str, RetryRule]) -> dict[str, RetryRule]:
        for name, rule in rules.items():
            code = next((code for code in Code if code == name), None)
            if code is None:
                raise ValueError(f"there is no error code {name!r}")
            if code.billed is not Billed.NO and (rule.retries or 0) > 1:
                raise ValueError(
                    f"{name} may cost its price each time, so retries is 0 or 1; more is a person's decision"
                )
        return rules

    @field_validator(
        "shots", "max_cost_usd", "max_cost_usd_per_day", "drain_timeout",
        "apiyi_key", "apiyi_system_token", "s3_access_key_id", "s3_secret_access_key", "catalog_database_url",
        mode="before",
    )  # fmt: skip
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        return (value.strip() or None) if isinstance(value, str) else value

    @field_validator("s3_prefix", "s3_public_base_url", "reference_prefix")
    @classmethod
    def _no_outer_slashes(cls, value: str) -> str:
        return value.strip("/")

    @field_validator("reference_prefix")
    @classmethod
    def _not_public(cls, value: str, info: ValidationInfo) -> str:
        public = info.data.get("s3_prefix", "")
        if not re.fullmatch(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*", value):
            raise ValueError("letters, digits, '.', '-', '_' and single '/' are allowed, or off")
        if public and f"{value}/".startswith(f"{public}/"):
            raise ValueError(f"this is inside {PREFIX}S3_PREFIX={public}, which the public reads; name another, or off")
        return value

    @property
    def base_url(self) -> str:
        """The API's address without a slash at the end."""
        return str(self.apiyi_base_url).rstrip("/")

    @property
    def model(self) -> str:
        """The model of shots that name none."""
        usual = {"images": "nano-banana-pro", "gemini": "gemini-3-pro-image"}
        return self.apiyi_model or usual[self.apiyi_format]

    @property
    def db_url(self) -> str:
        return self.database_url or f"sqlite:///{self.home.absolute() / 'packshot.db'}"

    @property
    def photo_shelf(self) -> str:
        """REFERENCE_PREFIX; empty where no photo is to be kept: it says so, or all of the bucket is public."""
        return self.reference_prefix if self.reference_prefix != "off" and self.s3_prefix else ""

    @property
    def spool(self) -> Path:
        """Folder that holds answers until their image is archived."""
        return self.home / "spool"

    @property
    def day_limit_micro(self) -> int | None:
        """MAX_COST_USD_PER_DAY in micro-dollars."""
        limit = self.max_cost_usd_per_day
        return None if limit is None else int(limit * 1_000_000)

    @property
    def drain(self) -> float:
        """Seconds a stopping run waits for its calls in the air."""
        return self.total_timeout if self.drain_timeout is None else self.drain_timeout

    @property
    def plain_http(self) -> bool:
        """True when the key would travel unencrypted to another machine."""
        host = self.apiyi_base_url.host or ""
        return self.apiyi_base_url.scheme == "http" and host not in ("127.0.0.1", "localhost", "[::1]")

    @cached_property
    def price_list(self) -> dict[str, Decimal]:
        return DEFAULT_PRICES | self.prices

    def price_micro(self, model: str) -> int:
        """Price of one call in micro-dollars; an unknown model is an error, because a budget could not hold."""
        try:
            return int(self.price_list[model] * 1_000_000)
        except KeyError:
            raise ConfigError(
                Code.SETTINGS_INVALID,
                f"no price is known for model {model!r} (known: {', '.join(sorted(self.price_list))}). "
                f"""Set {PREFIX}PRICES, for example {PREFIX}PRICES='{{"{model}": 0.09}}'""",
            ) from None

    def require_key(self) -> SecretStr:
        """The API key, or the error that says how to set it."""
        if self.apiyi_key is None or not self.apiyi_key.get_secret_value().strip():
            raise ConfigError(
                Code.BAD_KEY, f"{PREFIX}APIYI_KEY is not set, so nothing can be made; a key begins with sk-"
            )
        return self.apiyi_key

    def require_store(self) -> None:
        """Raise the error that names every storage variable still missing."""
        values = {
            "S3_BUCKET": self.s3_bucket,
            "S3_ACCESS_KEY_ID": self.s3_access_key_id,
            "S3_SECRET_ACCESS_KEY": self.s3_secret_access_key,
        }
        missing = [PREFIX + name for name, value in values.items() if not value]
        if missing:
            raise ConfigError(Code.SETTINGS_INVALID, f"not set: {', '.join(missing)}. Images need a permanent place")

    @property
    def store_host(self) -> str:
        """Where objects go, for messages: the endpoint's host, or AWS."""
        return urlsplit(self.s3_endpoint_url).netloc or f"AWS {self.s3_region}"


def load_settings(**overrides: Any) -> Settings:
    """Read the environment, then ``.env`` or the file that PACKSHOT_ENV_FILE names; ``overrides`` win over both.

    Raises:
        ConfigError: a value cannot be used; the message names variable, value and what is allowed.
    """
    env_file = os.environ.get(ENV_FILE, "")
    if env_file and not Path(env_file).is_file():
        raise ConfigError(Code.SETTINGS_INVALID, f"{ENV_FILE}={env_file}: there is no such file")
    env_file = env_file or ".env"
    try:
        return Settings(_env_file=env_file, **overrides)
    except ValidationError as error:
        raise ConfigError(Code.SETTINGS_INVALID, "; ".join(_explain(e) for e in error.errors())) from None
    except UnicodeDecodeError:
        raise ConfigError(Code.SETTINGS_INVALID, f"the file {env_file} is not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(Code.SETTINGS_INVALID, f"the file {env_file} cannot be read: {error.strerror}") from None


def _explain(error: Any) -> str:
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:  # about several values, which the message names
        return str(message)
    name = str(error["loc"][0])
    field = Settings.model_fields.get(name)
    read = repr(error["input"])
    if (field is not None and "SecretStr" in str(field.annotation)) or "@" in read:  # a URL may hold a password
        read = "a value (hidden)"
    return f"{PREFIX}{name.upper()}: {message} (read: {read})"
