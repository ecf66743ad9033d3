"""What holds for the text of a page: links lead somewhere, names exist, figures come in pairs."""

import re

from service.settings import Settings
from tests.docs.files import find_missing_mention
from tests.docs.pages import ROOT, Page, read_page

_CLIENT_VARIABLES = {"NCAL_API_KEY"}
_RECALL = re.compile(r"\brecall\b|召回率")
_PRECISION = re.compile(r"[Pp]recision|精确率")


def check_links(page: Page) -> list[str]:
    """Return the relative links of a page that lead nowhere."""
    faults = []
    for line, target in page.find_links():
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        place = (ROOT / page.path).parent / path if path else ROOT / page.path
        if not place.exists():
            faults.append(f"{page.path}:{line}: {target}: there is no such file")
        elif anchor and anchor not in _read(place.resolve()).find_anchors():
            faults.append(f"{page.path}:{line}: {target}: there is no such heading")
    return faults


def check_names(page: Page) -> list[str]:
    """Return the paths and settings that a page names and that do not exist."""
    faults = [
        f"{page.path}:{line}: {missing}"
        for line, code in page.find_code()
        if (missing := find_missing_mention(code))
    ]
    known = {"NCAL_" + name.upper() for name in Settings.model_fields} | _CLIENT_VARIABLES
    named = set(re.findall(r"\bNCAL_[A-Z_]+[A-Z]\b", page.text))
    return faults + [f"{page.path}: {name} is no setting" for name in sorted(named - known)]


def check_recall(page: Page) -> list[str]:
    """Return where recall is quoted without precision; the label *recall* is not meant."""
    faults = []
    for line, paragraph in page.prose:
        plain = re.sub(r"`[^`]*`|\*recall\*", "", paragraph)
        if _RECALL.search(plain) and not _PRECISION.search(plain):
            faults.append(f"{page.path}:{line}: says recall and not precision")
    return faults


def _read(path: object) -> Page:
    return read_page(str(path))
