"""The usual names of a catalog's columns, from the export formats of common shop systems and channel feeds."""

from __future__ import annotations

from collections.abc import Mapping

# {loc} stands for a locale ending such as -en_US, .de, :zh_Hans or _fr (those names in lower case), {n} for a number.
# Letter case does not matter, nor whether words are parted by a blank, an underscore or a hyphen.
_GROUP_KEYS = (
    "URL handle",
    "Handle",
    "item_group_id",
    "group_id",
    "Parent",
    "parent_sku",
    "abstract_sku",
    "primaryProductId",
    "baseId",
)
_SKUS = (
    "SKU",
    "Variant SKU",
    "id",
    "g:id",
    "item_id",
    "item_sku",
    "concrete_sku",
    "Product Code/SKU",
    "Reference #",
    "pid",
    "uniq_id",
    "Artikelnr.",
)
ALIASES: Mapping[str, tuple[str, ...]] = {
    "product_key": (*_GROUP_KEYS, *_SKUS),
    "sku": _SKUS,
    "title": (
        "Title",
        "g:title",
        "title{loc}",
        "Name",
        "name{loc}",
        "variation_name{loc}",
        "item_name",
        "Product Name",
        "product_name{loc}",
        "productDisplayName",
        "Name *",
        "Bezeichnung",
    ),
    "description": (
        "Description",
        "Body (HTML)",
        "description{loc}",
        "Product Description",
        "product_description{loc}",
        "Short description",
        "short_description{loc}",
        "Beschreibung",
    ),
    # "Type" stands behind "Categories": WooCommerce has both, and its Type says "simple" or "variable".
    "category": (
        "google_product_category",
        "Product category",
        "product_type",
        "Categories",
        "Categories (x,y,z...)",
        "Type",
        "category_key",
        "category_full_path",
        "Category",
        "product_category_tree",
        "masterCategory",
        "family",
    ),
    "brand": ("brand", "g:brand", "Vendor", "Brand Name", "Manufacturer"),
    # Not "Published", "enabled" and the like: their values are flags, and statuses are words.
    "status": ("Status",),
    "price": ("Price", "g:price", "Variant Price", "Regular price", "Preis"),
    "currency": ("Currency", "currency_code", "price_currency"),
    "link": ("link", "g:link", "product_url", "Permalink"),
    "image_refs": (
        "image_link",
        "additional_image_link",
        "lifestyle_image_link",
        "Product image URL",
        "Image Src",
        "Variant image URL",
        "Images",
        "Image URLs (x,y,z...)",
        "main_image_url",
        "other_image_url{n}",
        "Product Image File - {n}",
        "base_image",
        "additional_images",
        "image",
        "image_url",
        "Image URLs",
        "additional_image_urls",
        "assets",
        "picture",
        "featured_image_url",
    ),
}
