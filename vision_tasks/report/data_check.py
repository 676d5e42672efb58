"""`check.html`: what `data check` found, for people; made of the record that `check.json` holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vision_tasks.report.page import folded, page, paragraph, section, table, text

_LISTED = 200  # places of a finding; the JSON has all
_HEADINGS = {"error": "Errors", "warning": "Warnings", "note": "Notes"}
_FINE = "Nothing is wrong with it, as far as this can be seen."


def data_check_page(record: Mapping[str, Any]) -> str:
    """The page for the record of a check."""
    name = str(record["path"]).rstrip("/").rpartition("/")[2]
    parts = [paragraph(_introduction(record), "faint")] if "format" in record else []
    parts += [paragraph(_FINE)] if record["healthy"] else []
    for severity, heading in _HEADINGS.items():
        if findings := [finding for finding in record["findings"] if finding["severity"] == severity]:
            parts.append(section(heading, map(_finding, findings)))
    if record.get("classes"):
        parts.append(section("Classes", [_classes(record)]))
    return page(f"Data check of {name}", parts)


def _introduction(record: Mapping[str, Any]) -> str:
    splits = ", ".join(f"{split} {count}" for split, count in record["splits"].items())
    pixels = "" if record["pixels"] else "; without decoding any pixels"
    return f"{record['format']}, {record['images']} images ({splits}), {len(record['classes'])} classes{pixels}"


def _finding(finding: Mapping[str, Any]) -> str:
    label = f'<strong class="{finding["severity"]}">{text(finding["severity"])}</strong> {text(finding["what"])}'
    if not finding["places"]:
        return f"<p>{label}</p>"
    shown = finding["places"][:_LISTED]
    return folded(f"{label}: {finding['count']}", shown, finding["count"] - len(shown))


def _classes(record: Mapping[str, Any]) -> str:
    splits = [*record["splits"]]
    header = ["class", *(f"{split} {what}" for split in splits for what in ("count", "images"))]
    rows = [
        [row["name"], *(f"{row[what][split]:,}" for split in splits for what in ("count", "images"))]
        for row in record["classes"]
    ]
    return table("How often each class occurs, and in how many images", header, rows)
