"""Permanent storage on any S3-compatible object store."""

from packshot.storage.keys import object_key
from packshot.storage.probe import Finding
from packshot.storage.profiles import PROFILES, Profile
from packshot.storage.store import ObjectStore, PutResult, StoredObject

__all__ = ["PROFILES", "Finding", "ObjectStore", "Profile", "PutResult", "StoredObject", "object_key"]
