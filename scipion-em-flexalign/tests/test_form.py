"""The form has what FlexAlign has in Scipion: name, label, place, condition, level, default."""

import json
import pathlib

import pytest
import pyworkflow as pw
import pyworkflow.protocol.params as params

OFFICIAL = json.loads(pathlib.Path(__file__).with_name("official_form.json").read_text())
OURS = {
    "splitEvenOdd", "doRefine", "doDoseWeight", "gainSense", "gainCheck", "doseCheck",
    "defectsFile", "binThreads", "eerDose",
}  # fmt: skip
PROBES = (None, "", "abc", -1, 0, 1, 1.5, 1e9)
DISPLAYS = {0: "list", 1: "combo", 2: "hlist"}


@pytest.fixture(scope="module")
def protocol():
    return pw.Config.getDomain().getProtocols()["ProtFlexAlign"]()


@pytest.fixture(scope="module")
def rows(protocol):
    return form_rows(protocol)


def form_rows(protocol):
    """What the form of a protocol says of each parameter."""
    form, found = protocol.getDefinition(), {}

    def walk(owner, place):
        for name, item in owner.iterParams():
            if isinstance(item, params.ElementGroup):
                walk(item, dict(place, **{type(item).__name__: item}))
            else:
                found[name] = row(name, item, place, True)

    def row(name, item, place, is_shown):
        line = place.get("Line")
        facts = {
            "type": type(item).__name__,
            "label": item.getLabel(),
            "default": None if isinstance(item, params.PointerParam)
            else getattr(protocol, name).get(),
            "condition": item.condition.get(),
            "expertLevel": {0: "normal", 1: "advanced"}[item.expertLevel.get()],
            "important": item.isImportant(),
            "section": place["Section"].getLabel() if place else None,
            "group": place["Group"].getLabel() if "Group" in place else None,
            "line": line.getLabel() if line else None,
            "lineCondition": line.condition.get() if line else None,
            "lineExpertLevel": line.expertLevel.get() if line else None,
            "shownInForm": is_shown,
            "refuses": sorted(_refused(item)),
        }  # fmt: skip
        if isinstance(item, params.EnumParam):
            facts.update(choices=item.choices, display=DISPLAYS[item.display.get()])
        if isinstance(item, params.PointerParam):
            facts.update(pointerClass=str(item.pointerClass), allowsNull=item.allowsNull.get())
        facts["hasHelp"] = bool(item.help.get() or (line and line.help.get()))
        return facts

    for section in form.iterSections():
        walk(section, {"Section": section})
    for name, item in form.iterParams():
        if name not in found and not isinstance(item, params.ElementGroup):
            found[name] = row(name, item, {}, False)
    return found


def _refused(item):
    """Values that a field refuses by itself."""
    if isinstance(item, params.PointerParam):
        return
    for value in PROBES:
        try:
            errors = item.validate(value)
        except Exception:
            errors = True
        if errors:
            yield repr(value)


def test_the_table_is_what_the_official_form_says():
    official = form_rows(pw.Config.getDomain().getProtocols()["XmippProtFlexAlign"]())

    assert {name: _facts(row) for name, row in official.items()} == {
        row["name"]: {k: v for k, v in row.items() if k != "name"} for row in OFFICIAL["params"]
    }


def _facts(row):
    # What the table leaves out is None.
    return {k: v for k, v in row.items() if v is not None and k != "hasHelp"}


@pytest.mark.parametrize("official", OFFICIAL["params"], ids=lambda row: row["name"])
def test_every_official_parameter_is_there_as_it_is(official, rows):
    ours = rows[official["name"]]

    assert _facts(ours) == {k: v for k, v in official.items() if k != "name"}


def test_the_order_is_the_official_one(rows):
    official = [row["name"] for row in OFFICIAL["params"] if row["shownInForm"]]

    assert [name for name in rows if name in official] == official


def test_what_is_ours_beside_it_is_known_and_explained(rows):
    assert set(rows) - {row["name"] for row in OFFICIAL["params"]} == OURS
    assert all(rows[name]["hasHelp"] for name in OURS)


def test_no_field_is_without_help(rows):
    official = {row["name"] for row in OFFICIAL["params"]}
    own_words = [n for n in rows if n in official | OURS and n not in ("runName", "runMode")]

    without = [n for n in own_words if not rows[n]["hasHelp"] and rows[n]["shownInForm"]]
    # Fields of the base class that need none.
    assert set(without) <= {"doSaveAveMic", "useGpu", "gpuList"}


def test_the_class_promises_what_the_official_one_does(protocol):
    expected, kind = OFFICIAL["protocol"], type(protocol)

    assert protocol.modeParallel()
    assert kind.worksInStreaming()
    assert (protocol.allowsGpu(), protocol.requiresGpu(), protocol.usesGpu()) == (True, False, True)
    assert {n: c.__name__ for n, c in kind._possibleOutputs.items()} == expected["possibleOutputs"]
    assert protocol._citations() == expected["citations"]
    assert set(expected["publicMembers"]) <= set(vars(kind))
    assert (kind.NO_ROTATION, kind.NO_FLIP) == (0, 0)


SERIES_OURS = {"useSharedPrior", "saveTilts"}
NOT_FOR_SERIES = {"inputMovies", "doComputePSD", "doSaveAveMic", "doSaveMovie"}


@pytest.fixture(scope="module")
def series_rows():
    return form_rows(pw.Config.getDomain().getProtocols()["ProtTsFlexAlign"]())


def test_the_form_for_tilt_series_has_the_same_fields(rows, series_rows):
    added = {"inputTiltSeriesM"} | SERIES_OURS

    assert set(series_rows) - set(rows) == added
    assert set(rows) - set(series_rows) == NOT_FOR_SERIES


def test_the_same_fields_look_the_same(rows, series_rows):
    differing = [
        (name, fact)
        for name in set(rows) & set(series_rows)
        for fact in ("label", "default", "choices", "refuses", "group", "section")
        if rows[name].get(fact) != series_rows[name].get(fact)
    ]

    # Frames of tilts are made by dose; labels of the base class for tilt series are its own.
    assert set(differing) == {("eerDose", "default")}


def test_no_field_for_tilt_series_is_without_help(series_rows):
    without = [n for n, row in series_rows.items() if row["shownInForm"] and not row["hasHelp"]]

    assert set(without) <= {"runName", "runMode", "useGpu", "gpuList", "hostName"}
    assert SERIES_OURS <= set(series_rows)
