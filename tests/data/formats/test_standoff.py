"""brat's and WebAnno's files."""

import pytest

from minisift import DataError, read


def told(found):
    return [(e.text, [(s.start, s.end, s.label) for s in e.spans]) for e in found]


@pytest.fixture
def pair(tmp_path):
    def put(text, annotations, name="a"):
        (tmp_path / f"{name}.txt").write_bytes(text.encode())
        (tmp_path / f"{name}.ann").write_text(annotations)
        return tmp_path / f"{name}.txt"

    return put


NORA = "T1\tPER 0 9\tNora Feld\nT2\tLOC 19 23\tLyon\n"


def test_a_pair(pair):
    path = pair("Nora Feld moved to Lyon.\n", NORA)
    wanted = [("Nora Feld moved to Lyon.", [(0, 9, "PER"), (19, 23, "LOC")])]
    for source in (path, path.with_suffix(".ann"), path.parent):
        assert told(read(source)) == wanted
        assert told(read(source, format="brat")) == wanted


def test_lines_are_sentences_unless_a_span_goes_on(pair):
    path = pair("It rained.\r\n\r\nNora\r\nFeld ran.\n  \nSo.", "T1\tPER 14 18;20 24\tNora Feld\n")
    assert told(read(path)) == [
        ("It rained.", []),
        ("Nora\r\nFeld ran.", [(0, 10, "PER")]),
        ("So.", []),
    ]


def test_gaps_follow_the_policy(pair):
    path = pair(
        "North and South America", "T1\tLOC 0 5;16 23\tNorth America\nT2\tLOC 10 23\tSouth America"
    )
    with pytest.raises(DataError, match=r"a.txt:1: span .*'North America' has a gap in it; fix"):
        read(path)
    assert told(read(path, on_misaligned="skip")) == [
        ("North and South America", [(10, 23, "LOC")])
    ]
    found = read(path, on_misaligned="snap")
    assert told(found) == [("North and South America", [(0, 23, "LOC")])]
    assert found.counts == {"spans with gaps kept": 1, "overlapping spans dropped": 1}


def test_what_is_not_read_is_counted(pair):
    annotations = NORA + (
        "E1\tMove:T1\nR1\tx Arg1:T1 Arg2:T2\n*\tEquiv T1 T2\nA1\tSure E1\nM1\tNo E1\n"
        "N1\tReference T1 W:1\tx\n#1\tAnnotatorNotes T1\tso\n"
    )
    assert read(pair("Nora Feld moved to Lyon.", annotations)).counts == {
        "events not read": 1,
        "relations not read": 2,
        "attributes not read": 2,
        "normalizations not read": 1,
        "comments not read": 1,
    }


def test_bad_standoff(pair, tmp_path):
    with pytest.raises(DataError, match=r"a.ann:1: 'T1 PER 0 9' is no annotation of brat's; fix"):
        read(pair("Nora Feld", "T1 PER 0 9"))
    with pytest.raises(DataError, match=r"a.ann: span \(0, 99, 'PER'\) .*leaves the text"):
        read(pair("Nora Feld", "T1\tPER 0 99"))
    with pytest.raises(DataError, match="'Nora' in the file but 'ora '"):
        read(pair("Nora Feld", "T1\tPER 1 5\tNora"))
    (tmp_path / "a.ann").unlink()
    with pytest.raises(DataError, match=r"a.ann: missing; fix"):
        read(tmp_path / "a.txt", format="brat")
    with pytest.raises(DataError, match=r"no .ann file in it"):
        read(tmp_path, format="brat")


def test_a_folder(pair, tmp_path):
    pair("Nora Feld", "T1\tPER 0 9\tNora Feld", "a")
    pair("It rained.", "", "b")
    (tmp_path / "c.txt").write_text("Nobody read this.")
    (tmp_path / "notes.md").write_text("x")
    found = read(tmp_path)
    assert told(found) == [("Nora Feld", [(0, 9, "PER")]), ("It rained.", [])]
    assert found.counts == {"texts without an .ann file": 1}
    (tmp_path / "d.ann").write_text("")
    with pytest.raises(DataError, match=r"d.ann: no d.txt beside it; fix"):
        read(tmp_path)


WEBANNO = """#FORMAT=WebAnno TSV 3.3
#T_SP=de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity|identifier|value
#T_SP=webanno.custom.Mood|tone
#T_RL=webanno.custom.Knows|kind|BT_webanno.custom.Mood


#Text=Nora 😀 Feld moved to Lyon [x].
1-1\t0-4\tNora\t*[1]\tPER[1]\t_\t_\t_\t
1-2\t5-7\t😀\t*[1]\tPER[1]\t_\t_\t_\t
1-3\t8-12\tFeld\t*[1]\tPER[1]\t_\t_\t_\t
1-4\t13-18\tmoved\t_\t_\tgood\tlikes\t1-1\t
1-5\t19-21\tto\t_\t_\t_\t_\t_\t
1-6\t22-26\tLyon\t*\tLOC\\_x\t_\t_\t_\t
1-7\t27-28\t[\t_\t_\t_\t_\t_\t

#Text=It rained.
2-1\t32-34\tIt\t_\t_\t_\t_\t_\t
2-2\t35-41\trained\t_\t_\t_\t_\t_\t
"""


def test_webanno(put):
    """UTF-16 offsets of the document; the named entities' value where other layers are filled too."""
    found = read(put(WEBANNO, "x.tsv"))
    assert told(found) == [
        ("Nora 😀 Feld moved to Lyon [x].", [(0, 11, "PER"), (21, 25, "LOC_x")]),
        ("It rained.", []),
    ]
    assert found.counts == {
        "rows of Mood|tone not read": 1,
        "rows of Knows|kind not read": 1,
        "rows of Knows|BT_webanno.custom.Mood not read": 1,
    }
    for column in ("tone", "Mood", "Mood|tone", 2):
        assert told(read(put(WEBANNO, "x.tsv"), tag_column=column))[0][1] == [(12, 17, "good")]
    with pytest.raises(DataError, match=r"0 features may hold the labels .*; fix: name one"):
        read(put(WEBANNO, "x.tsv"), tag_column="kind")


def test_webanno_overlaps_and_parts(put):
    stacked = WEBANNO.replace("*\tLOC\\_x", "*[2]|*[3]\tLOC[2]|ORG[3]")
    with pytest.raises(DataError, match=r":8: .*overlaps"):
        read(put(stacked, "x.tsv"))
    part = WEBANNO.replace("\n1-7", "\n1-6.1\t22-24\tLy\t*\tX\t_\t_\t_\n1-7").replace(
        "*\tLOC\\_x", "_\t_"
    )
    with pytest.raises(DataError, match="word borders"):
        read(put(part, "x.tsv"))
    snapped = read(put(part, "x.tsv"), on_misaligned="snap")
    assert told(snapped)[0][1] == [(0, 11, "PER"), (21, 25, "X")]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (("TSV 3.3", "TSV 2"), r"x.tsv:1: '#FORMAT=WebAnno TSV 2'; fix: export as WebAnno TSV 3"),
        (("8-12\tFeld", "8-12\tField"), r"x.tsv:8: tokens are not where their offsets say"),
        (("1-5\t19", "x\t19"), r"x.tsv:12: .* is no token's line"),
    ],
)
def test_bad_webanno(put, change, what):
    with pytest.raises(DataError, match=what):
        read(put(WEBANNO.replace(*change), "x.tsv"))


def test_webanno_spans_without_a_value(put):
    """An identifier is no label: the value stays the column, though it is empty."""
    content = "#FORMAT=WebAnno TSV 3.3\n#T_SP=a.NamedEntity|identifier|value\n\n#Text=Nora\n"
    found = read(put(f"{content}1-1\t0-4\tNora\thttp://q[1]\t*[1]\t\n", "x.tsv"))
    assert told(found) == [("Nora", [])]
    assert found.counts == {
        "rows of NamedEntity|identifier not read": 1,
        "rows of spans without a label not read": 1,
    }
    with pytest.raises(DataError, match="tokens are not where"):
        read(put(f"{content}1-1\t2-6\t\n", "x.tsv"))


def test_folders_of_folders_and_fragments_in_any_order(tmp_path):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "x.txt").write_text("Nora saw Feld")
    (deep / "x.ann").write_text("T1\tPER 9 13;0 4\tFeld Nora")
    assert told(read(tmp_path, on_misaligned="snap")) == [("Nora saw Feld", [(0, 13, "PER")])]
