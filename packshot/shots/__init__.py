"""Shots: what to make of each product, in which words, and how to know a picture that was made already.

``load_shot_list`` reads the recipes, ``jobs_for`` turns one product and one shot into image jobs.
"""

from packshot.shots.jobs import KEY_VERSION, job_key, jobs_for
from packshot.shots.load import load_shot_list
from packshot.shots.model import AspectRatio, ImageJob, ImageSize, Reference
from packshot.shots.shot_list import Shot, ShotList, When

__all__ = [
    "KEY_VERSION",
    "AspectRatio",
    "ImageJob",
    "ImageSize",
    "Reference",
    "Shot",
    "ShotList",
    "When",
    "job_key",
    "jobs_for",
    "load_shot_list",
]
