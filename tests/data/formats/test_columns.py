"""Column files and tables: which columns are read, how tags are spelled, what is refused."""

import pytest

from minisift import DataError, Example, Span, read, write

LINES = "U.N. I-ORG\nofficial O\nEkeus I-PER\n\n-DOCSTART- O\n\nParis I-LOC\nRome B-LOC\n"
NORA = [("Nora Feld", [(0, 9, "PER")])]


def ranges(example):
    return [(span.start, span.end, span.label) for span in example.spans]


def told(found):
    return [(example.text, ranges(example)) for example in found]


def test_columns(put):
    first, second = read(put(LINES))
    assert first.text == "U.N. official Ekeus"
    assert ranges(first) == [(0, 4, "ORG"), (14, 19, "PER")]
    assert ranges(second) == [(0, 5, "LOC"), (6, 10, "LOC")]


def test_columns_by_number_and_name(put):
    path = put("# global.columns = FORM NER POS\n# text = a b\na B-X NN\nb O VB\n")
    assert ranges(read(path)[0]) == [(0, 1, "X")]
    for column in ("NER", "ner", 1, -2):
        assert ranges(read(path, tag_column=column)[0]) == [(0, 1, "X")]
    with pytest.raises(DataError, match="named: FORM, NER, POS"):
        read(path, tag_column="TAG")
    with pytest.raises(DataError, match="no column 7 in lines of 3; fix: a number from 0 to 2"):
        read(path, tag_column=7)
    assert read(path, word_column="POS", tag_column="NER")[0].text == "NN VB"


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("1\tNora\tB-PER\n2\tFeld\tI-PER\n", {}),  # counted from 1
        ("0\tNora\tB-PER\n1\tFeld\tI-PER\n", {}),  # WikiNEuRal
        ("1\tNora\tB-PER\t-\tmay\n2\tFeld\tI-PER\t-\tmay\n", {}),  # UNER, tags not last
        ("#\thttp://x [2009-10-17]\n1\tNora\tB-PER\tO\n2\tFeld\tI-PER\tO\n", {}),  # GermEval
        ("# global.columns = ID FORM NER\n1\tNora\tB-PER\n2\tFeld\tI-PER\n", {}),
        ("TOKEN\tPOS\tNE\nNora\tN\tB-PER\nFeld\tN\tI-PER\n", {}),
        ("TOKEN\tNE-C\tNE-F\tMISC\nNora\tB-PER\tO\t_\nFeld\tI-PER\tO\tx\n", {"tag_column": "NE-C"}),
        ("# a\nTOKEN\tPOS\tNE\n# id = 1\nNora\tN\tB-PER\n# line = 2\nFeld\tN\tI-PER\n", {}),  # HIPE
        ("B-PER\tNora\nI-PER\tFeld\n", {}),  # MIT's: the tag first
        ("O w Nora B-PER\nO w Feld I-PER\n", {"word_column": 2}),
        ("# a\tcomment\nNora B-PER\nFeld I-PER\n", {}),
        ("Nora\tB-PER\t\nFeld\tI-PER\t\n", {}),  # an empty last column
        ("Nora\tB-PER\nFeld\tI-PER\n\n\ufeff", {}),
        ("\ufeffNora\tB-PER\r\nFeld\tI-PER\r\n\r\n", {}),
        (
            "3918\ta.txt\t0\t4\tO\t-1\nNora\ta.txt\t4\t8\tB-PER\tT1\nFeld\ta.txt\t9\t13\tI-PER\tT1\n",
            {},
        ),
    ],
)
def test_which_columns(put, content, options):
    (found,) = read(put(content), **options)
    start = len(found.text) - len("Nora Feld")
    assert found.text[start:] == "Nora Feld"
    assert ranges(found) == [(start, len(found.text), "PER")]


CONLLU = """# text = Nora Feld's
1\tNora\tNora\tPROPN\t_\t_\t0\troot\t_\tname=B-PER|SpaceAfter=No
2-3\tFeld's\t_\t_\t_\t_\t_\t_\t_\t_
2\tFeld\tFeld\tPROPN\t_\t_\t1\tflat\t_\tname=I-PER
3\t's\t's\tPART\t_\t_\t1\tcase\t_\t_
3.1\tgone\tgo\tVERB\t_\t_\t_\t_\t_\t_
"""


def test_conllu(put):
    """Rows for several words and empty nodes are no words; tags may be a feature in MISC."""
    assert told(read(put(CONLLU, "x.conllu"))) == [("Nora Feld 's", [(0, 9, "PER")])]
    assert told(read(put(CONLLU, "x.conllu"), tag_column="name")) == [
        ("Nora Feld 's", [(0, 9, "PER")])
    ]
    bare = CONLLU.replace("name=B-PER|", "").replace("name=I-PER", "_")
    with pytest.raises(DataError, match=r"x.conllu: no column holds tags .*; fix: give tag_column"):
        read(put(bare, "x.conllu"))
    lost = read(put(CONLLU.replace("2-3\tFeld's\t_\t_", "2-3\tFeld's\tB-ORG\t_"), "x.conllu"))
    assert lost.counts == {"tags of rows for several words and of empty nodes not read": 1}


def test_several_columns_of_tags(put):
    content = "Nora\tB-PER\tO\nof\tI-PER\tO\nBonn\tI-PER\tB-LOC\n\nx\tO\tO\n\ny\tB-LOC\tB-PER\n"
    nested = read(put(content))
    assert told(nested)[0] == ("Nora of Bonn", [(0, 12, "PER")])
    assert nested.counts == {"spans in column 2 not read": 2}
    assert "the tags are those of column 1 of 3" in nested.notes[-1]
    assert told(read(put(content), tag_column=2))[0] == ("Nora of Bonn", [(8, 12, "LOC")])
    # chunks and names, as in CoNLL-2003: other labels, so the last column it is
    assert told(read(put("Nora B-NP B-PER\nran B-VP O\n"))) == [("Nora ran", [(0, 4, "PER")])]
    with pytest.raises(DataError, match=r"2 others do \('A', 'B'\); fix: .*tag_column='A'"):
        read(put("TOKEN\tA\tB\tMISC\nNora\tB-PER\tB-x\t_\nran\tO\tO\t_\n"))


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ("B-PER M-PER E-PER S-LOC O", None),
        ("B-PER M-PER E-PER W-LOC O", None),
        ("B-PER I-PER L-PER U-LOC O", None),
        ("b-PER i-PER i-PER b-LOC o", None),
        ("B_PER I_PER I_PER B_LOC O", None),
        ("PER-B PER-I PER-I LOC-B O", None),
        ("PER_b PER_i PER_i LOC_b o", None),
        ("PER PER PER LOC O", None),
        ("PER PER PER LOC none", "io"),
        ("I-PER I-PER I-PER I-LOC O", "io"),
        ("B-PER I-PER I-PER B-LOC _", None),
        ("B-PER I-PER I-PER B-LOC I-O", None),
    ],
)
def test_spellings_of_tags(put, tags, scheme):
    words = ["Nora", "van", "Feld", "Lyon", "b"]
    content = "".join(f"{w} {t}\n" for w, t in zip(words, tags.split(), strict=True))
    (found,) = read(put(content), scheme=scheme)
    outside = [(19, 20, "none")] if "none" in tags else []
    assert ranges(found) == [(0, 13, "PER"), (14, 18, "LOC"), *outside]


def test_labels_and_words_with_blanks(put):
    """Label Studio's CoNLL export does not quote labels; words are told by the width of the lines."""
    studio = "-DOCSTART- -X- O\nAnn -X- _ B-First Name\nmet -X- _ O\n"
    assert told(read(put(studio))) == [("Ann met", [(0, 3, "First Name")])]
    rest = "so O\n" * 20
    (found,) = read(put("Ann B-First Name\nNew York B-LOC\n" + rest))
    assert ranges(found) == [(0, 3, "First Name"), (4, 12, "LOC")]
    with pytest.raises(DataError, match=r":1: 4 columns where the file has 3; fix: join"):
        read(put("New York N B-LOC\n" + "so N O\n" * 20))


@pytest.mark.parametrize("blank", ["", "\u00a0", "\u3000"])
@pytest.mark.parametrize("gap", ["\t", " "])
def test_blank_words_are_named(put, blank, gap):
    path = put(f"Nora{gap}B-PER\n{blank}{gap}O\nx{gap}O\n")
    with pytest.raises(DataError, match=r":2: the word is blank .*; fix: drop the line"):
        read(path)
    assert read(path, on_error="skip").counts == {"bad records skipped": 1}


def test_a_needless_b_is_no_error_in_iob1(put):
    found = read(put("a I-X\nb I-X\n\nc B-X\nd I-X\n\ne I-X\nf B-X\n"))
    assert [ranges(e) for e in found] == [[(0, 3, "X")], [(0, 3, "X")], [(0, 1, "X"), (2, 3, "X")]]


def test_a_given_scheme_is_not_recognised_anew(put):
    path = put("a I-X\nb I-X\n")
    assert ranges(read(path)[0]) == [(0, 3, "X")]
    with pytest.raises(DataError, match=r"continues no span .*scheme='iob1'"):
        read(path, scheme="iob2")
    with pytest.raises(ValueError, match=r"iob1, .*bmewo, io"):
        read(path, scheme="iob3")


def test_a_number_sign_may_be_a_word(put):
    assert read(put("# B-X\n1 I-X\n"))[0].text == "# 1"
    assert read(put("# PER\nx PER\ny O\nz O\n"))[0].text == "# x y z"
    assert read(put("# sent_id = 4\n# newpar\na B-X\n"))[0].text == "a"


def test_columns_of_other_platforms(put):
    path = put("\ufeff# id 7\r\n# O\r\na\tB-X\r\n\r\nb\u2028c\tO\r\n")
    assert [e.text for e in read(path)] == ["a", "b\u2028c"]


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        ("a B-X\nb\nc O\n", 2, "1 column"),
        ("a B-X\nb I-Y\n\nc B-X\n\nd B-Y\n", 2, "continues no span"),
        ("a B-X\nb X\n", 2, "not a tag"),
        ("a B-X|B-Y\nb O\n", 1, "2 labels, X and Y, but spans are flat"),
        ("a X-B,Y-B\nb O\n", 1, "2 labels, X and Y"),
        ("a X|Y\nb O\n", 1, "2 labels"),
        ("a PER-B\nb PER-I\nc LOC-I\n\nd PER-B\n", 3, "'LOC-I': 'I-LOC' continues no span"),
    ],
)
def test_bad_columns(put, content, line, what):
    path = put(content)
    with pytest.raises(DataError, match=what) as error:
        read(path)
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert "fix" in str(error.value)
    kept = read(path, on_error="skip")
    assert kept.counts["bad records skipped"] == 1
    assert kept.notes[0].startswith(f"{path}:{line}: ")


def test_sentences_without_tags_are_no_sentences_without_spans(put):
    found = read(put("Nora\tB-PER\nran\tO\n\nBen\t_\nran\t_\n\nso\tO\n"))
    assert [e.text for e in found] == ["Nora ran", "so"]
    assert found.counts == {"sentences without tags": 1}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04...", "ZIP archive; fix: unpack"),
        (b"\x1f\x8b\x08...", "gzip; fix: unpack"),
        (b'<?xml version="1.0"?><a/>', "XML; fix"),
        (b"%PDF-1.7", "a PDF file; fix"),
        (b"Nora ran home.\nIt rained.\n", r"no column holds tags .*; fix: give tag_column"),
    ],
)
def test_what_is_no_file_of_columns(put, content, what):
    with pytest.raises(DataError, match=what):
        read(put(content, "notes.txt"))


def test_encodings(put):
    path = put("Müller B-PER\n".encode("latin-1") + b"so O\n")
    with pytest.raises(DataError, match=r":1: not UTF-8 .*; fix: .*encoding='latin-1'"):
        read(path)
    assert told(read(path, encoding="latin-1")) == [("Müller so", [(0, 6, "PER")])]
    path = put("Nora B-PER\nFeld I-PER\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"fix: .*encoding='utf-16'"):
        read(path)
    assert told(read(path, encoding="utf-16")) == NORA
    with pytest.raises(ValueError, match="encoding='utf8x' is not known"):
        read(path, encoding="utf8x")


TABLE = "Sentence #,Word,POS,Tag\nSentence: 1,Nora,NNP,B-per\n,Feld,NNP,I-per\nSentence: 2,so,X,O\n"


def test_tables_of_words(put):
    wanted = [("Nora Feld", [(0, 9, "per")]), ("so", [])]
    assert told(read(put(TABLE, "t.csv"))) == wanted
    assert told(read(put(TABLE.replace(",", ";"), "T.CSV"))) == wanted
    assert told(read(put(TABLE, "t.txt"), format="csv", word_column="Word", tag_column=3)) == wanted
    numbered = "sentence_id,words,labels\n7,Nora,B-per\n7,Feld,I-per\n8,NA,O\n"
    assert told(read(put(numbered, "t.csv"))) == [wanted[0], ("NA", [])]
    quoted = 'sentence_id,word,tag\n1,"a ""b"",c",O\n1,d,B-X\n'
    assert read(put(quoted, "t.csv"))[0].text == 'a "b",c d'
    open_quote = 'sentence_id,word,tag\n1,Ann,B-X\n1,",O\n2,so,O\n2,",O\n2,d,B-X\n'
    with pytest.raises(DataError, match=r"t.csv:3: word or tag hold '\\n'; fix"):
        read(put(open_quote, "t.csv"))
    with pytest.raises(DataError, match="no column tells where sentences begin"):
        read(put("word,tag\na,O\nb,O\n", "t.csv"))
    assert len(read(put("word,tag\na,O\n,\nb,O\n", "t.csv"))) == 2
    with pytest.raises(DataError, match=r"t.csv:3: 3 cells under 4 names; fix"):
        read(put(TABLE.replace(",Feld,NNP", ",Feld"), "t.csv"))


def test_tables_of_texts(put):
    rows = (
        'id,text,label\n1,"Nora, so","[{""start"": 0, ""end"": 4, ""labels"": [""PER""]}]"\n2,so,\n'
    )
    assert told(read(put(rows, "t.csv"))) == [("Nora, so", [(0, 4, "PER")]), ("so", [])]
    by_tabs = rows.replace("id,text,label", "id\ttext\tlabel").replace('1,"N', '1\t"N')
    by_tabs = by_tabs.replace('so","[', 'so"\t"[').replace("2,so,", "2\tso\t")
    assert told(read(put(by_tabs, "t.tsv"))) == told(read(put(rows, "t.csv")))
    printed = "tokens,ner_tags\n\"['Nora', 'so']\",\"['B-PER', 'O']\"\n"
    assert told(read(put(printed, "t.csv"))) == [("Nora so", [(0, 4, "PER")])]
    with pytest.raises(DataError, match=r"no column holds tags|no list of spans"):
        read(put("text,label\nI love it,positive\nso so,neutral\n", "t.csv"))


@pytest.mark.parametrize(
    "example",
    [
        Example("a\tb", (), ((0, 3),)),
        Example("a\nb", (), ((0, 3),)),
        Example("a\rb", (), ((0, 3),)),
        Example("-DOCSTART-", (), ((0, 10),)),
        Example("a", (Span(0, 1, "X\tY"),)),
        Example("a", (Span(0, 1, " X"),)),
        Example("\ud800"),
    ],
)
def test_what_columns_cannot_hold(tmp_path, example):
    with pytest.raises(DataError, match=r"fix: .*write JSONL"):
        write([example], tmp_path / "x.conll")
    assert not any(tmp_path.iterdir())
    write([example], tmp_path / "x.jsonl")
    assert read(tmp_path / "x.jsonl") == [example]


@pytest.mark.parametrize(
    ("content", "words", "spans"),
    [
        # letters alone, as in BioBERT's data
        ("so\tO\ncolon\tB\ncancer\tI\n.\tO\n", "so colon cancer .", [(3, 15, "entity")]),
        # the first column counts through the file, or holds ids, offsets, documents
        ("1\tNora\tB-PER\n2\tran\tO\n\n3\tBonn\tB-LOC\n4\tis\tO\n", "Nora ran", [(0, 4, "PER")]),
        ("d1\t1\tNora\tB-PER\nd1\t2\tran\tO\n", "Nora ran", [(0, 4, "PER")]),
        ("0\t4\tNora\tB-PER\n5\t8\tran\tO\n", "Nora ran", [(0, 4, "PER")]),
        ("t1\tNora\tB-PER\nt2\tran\tO\n", "Nora ran", [(0, 4, "PER")]),
        ("1-1\tNora\tB-PER\n1-2\tran\tO\n", "Nora ran", [(0, 4, "PER")]),
        ("1.1\tNora\tB-PER\n1.2\tran\tO\n", "Nora ran", [(0, 4, "PER")]),
        ("1\tParis\tB-LOC\n\n1\tNora\tB-PER\n", "Paris", [(0, 5, "LOC")]),
        ("bc/x 0 Nora NNP B-PER\nbc/x 1 ran VBD O\n", "Nora ran", [(0, 4, "PER")]),
        # chunks behind names; an outer column with spans where the inner has none
        ("Nora B-PER B-NP\nran O B-VP\n", "Nora ran", [(0, 4, "PER")]),
        ("Der ART B-NC O\nMann NN I-NC O\n", "Der Mann", []),
        # words with a sign
        ("#Obama\tperson\nran\tO\nto\tO\n\nBonn\tcity\n", "#Obama ran to", [(0, 6, "person")]),
        ("###MEDLINE:95\n\nIL-2\tB-DNA\ngene\tI-DNA\n", "IL-2 gene", [(0, 9, "DNA")]),
        ("#7\nNora\tB-PER\nran\tO\n\n#8\nso\tO\n", "Nora ran", [(0, 4, "PER")]),
        # old line ends, a header of other names, something else than "O" outside
        ("Nora\tB-PER\rran\tO\r\rBonn\tB-LOC\r", "Nora ran", [(0, 4, "PER")]),
        ("Wort tag\nNora PER\nran O\n", "Nora ran", [(0, 4, "PER")]),
        ("# c\n\nword\ttag\nNora\tB-PER\nran\tO\n", "Nora ran", [(0, 4, "PER")]),
        ("Nora\tB-PER\nran\t-\nto\t-\n", "Nora ran to", [(0, 4, "PER")]),
        (
            "Nora B-PER\nran O\n10 000 B-NUM\nx O\ny O\n",
            "Nora ran 10 000 x y",
            [(0, 4, "PER"), (9, 15, "NUM")],
        ),
    ],
)
def test_what_was_read_wrongly(put, content, words, spans):
    found = read(put(content))[0]
    assert (found.text, ranges(found)) == (words, spans)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (
            "Nora Feld ran\tB-PER I-PER O\nBonn is big\tB-LOC O O\n",
            "'B-PER I-PER O' holds 2 labels",
        ),
        ("IL-2\tB-DNA B-protein\nx\tO\n", "2 labels, DNA and protein"),
        ("Nora\tB:PER\nFeld\tI:PER\nran\tO\nto\tO\n", "'B:PER' is not a tag"),
        ("Nora\tBPER\nFeld\tIPER\nran\tO\nto\tO\n", "'BPER' is not a tag"),
        ("Nora\tPER\nFeld\tPER\nx\tO\nBonn\tB-LOC\ny\tO\n", "'B-LOC' is not a tag"),
        ("Nora\tPER\nx\tO\ny\tO\nz\t0\n", "'0' is not a tag"),
        ("FC\tB-ORG\nBonn\tI-ORG\tB-LOC\nran\tO\nin\tO\n", "3 columns where the file has 2"),
        ("so O\n" * 6 + "\n" + "so NN O\n" * 4, "3 columns where the file has 2"),
        ("#Obama\nwent\tO\nto\tO\n\nso\tO\n\nso\tO\n", "1 column"),
        ("Nora\tB-PER\r\nFe\rld\tI-PER\r\n", r"hold '\\r'"),
        ("a   0   0   Nora  (PERSON*\na   0   1   Feld  *)\na   0   2   ran  *\n", "brackets"),
    ],
)
def test_what_is_refused_rather_than_guessed(put, content, what):
    with pytest.raises(DataError, match=what) as error:
        read(put(content))
    assert "; fix: " in str(error.value)


def test_spans_of_other_columns_are_counted(put):
    found = read(put("Nora\tB-PER\tO\nyesterday\tO\tB-DATE\n"))
    assert ranges(found[0]) == [(5, 14, "DATE")]
    assert found.counts == {"spans in column 1 not read": 1}
    assert read(put("so\tO\nB\tB\n")).notes == [
        f"{put('', 'x').with_name('data.conll')}: tags are letters alone; their label is 'entity'"
    ]


def test_windows_encoding_is_named(put):
    with pytest.raises(DataError, match="encoding='cp1252'"):
        read(put("“Nora” B-PER\n".encode("cp1252")))
    with pytest.raises(DataError, match=r"NUL bytes throughout.*utf-16-le"):
        read(put("Nora B-PER\nFeld I-PER\n".encode("utf-16-le")))


def test_more_tables(put):
    kaggle = TABLE.replace(",", "\t")
    assert len(read(put(kaggle, "t.tsv"))) == 2
    documents = "doc_id,sentence_id,word,tag\na,0,Nora,B-PER\nb,0,Feld,I-PER\nb,0,x,O\n"
    with pytest.raises(DataError, match=r"t.csv:3: .*continues no span"):
        read(put(documents, "t.csv"))
    assert len(read(put(documents.replace("I-PER", "B-PER"), "t.csv"))) == 2
    bare = "Nora,B-PER\nFeld,I-PER\n,\nx,O\n"
    found = read(put(bare, "t.csv"), word_column=0, tag_column=1)
    assert told(found) == [*NORA, ("x", [])]
    numbers = "sentence_id,words,labels\n0,Nora,1\n0,ran,0\n"
    found = read(put(numbers, "t.csv"), names=["O", "B-PER"], tag_column="labels")
    assert told(found) == [("Nora ran", [(0, 4, "PER")])]
    assert told(read(put(numbers, "t.csv"), names=["O", "B-PER"])) == told(found)


@pytest.mark.parametrize(
    "cells",
    [
        ("\"['Nora' 'Feld' 'ran']\"", "\"['B-PER' 'I-PER' 'O']\""),  # as numpy prints lists
        ("\"['Nora', 'Feld', 'ran']\"", "\"['B-PER', 'I-PER', 'O']\""),
        ('"[""Nora"",""Feld"",""ran""]"', '"[""B-PER"",""I-PER"",""O""]"'),
        ("Nora Feld ran", "\"['B-PER', 'I-PER', 'O']\""),  # Kaggle's: Sentence and Tag
    ],
)
def test_lists_in_cells(put, cells):
    name = "Sentence" if cells[0][0] == "N" else "tokens"
    found = read(put(f"{name},ner_tags\n{','.join(cells)}\n", "t.csv"))
    assert told(found) == [("Nora Feld ran", [(0, 9, "PER")])]


def test_tuples_in_cells(put):
    assert told(read(put("text,entities\nNora ran,\"[(0, 4, 'PER')]\"\n", "t.csv"))) == [
        ("Nora ran", [(0, 4, "PER")])
    ]


@pytest.mark.parametrize(
    ("content", "text", "spans"),
    [
        # comments that end like a tag
        ("# text = vitamin-B\nvitamin-B NN B-NP O\n", "vitamin-B", []),
        ("# id w_1\nYes UH O\n", "Yes", []),
        # numbers, scores and repeated words are words
        ("1996 CD O\n", "1996", []),
        ("2324 NN B-X\n1834 . O\n\n17 NN O\n12 . O\n", "2324 1834", [(0, 4, "X")]),
        ("2-1 CD B-S\n1-1 CD I-S\n4 CD O\n", "2-1 1-1 4", [(0, 7, "S")]),
        ("ha UH O\nha NN O\n\nno UH O\nno DT O\n", "ha ha", []),
        # words that look like tags, chunks of other treebanks
        ("U-Bahn O\n", "U-Bahn", []),
        ("B-52 NN B-NP O\n", "B-52", []),
        ("E-Mail\tO\nkam\tO\n", "E-Mail kam", []),
        ("He PP B-NC O\nwent VVD B-VC O\nquickly RB B-ADVC O\n", "He went quickly", []),
        # "O" may be a label, signs may stand in labels
        (
            "staff B-T\nvery B-O\nkind I-O\nso O\n",
            "staff very kind so",
            [(0, 5, "T"), (6, 15, "O")],
        ),
        ("x B-o\ny O\n", "x y", [(0, 1, "o")]),
        (
            "ring B-Phone/E-mail\n555 I-Phone/E-mail\nnow O\n",
            "ring 555 now",
            [(0, 8, "Phone/E-mail")],
        ),
        # comments without a blank
        ("#doc 1\nBob B-P\nran O\n\n#doc 2\nYes O\n", "Bob ran", [(0, 3, "P")]),
        (
            "#begin document x\nBob\tB-P\nran\tO\n\n#end document\n\nYes\tO\n",
            "Bob ran",
            [(0, 3, "P")],
        ),
        # first words that look like other formats, columns set apart by several tabs
        ('{"\tO\nname\tO\n', '{" name', []),
        ("<?xml O\nversion O\n", "<?xml version", []),
        ("Bob\t\tB-P\nsmiles\t\tO\nsuccessfully\tO\n", "Bob smiles successfully", [(0, 3, "P")]),
    ],
)
def test_good_files_are_read(put, content, text, spans):
    for name in ("x.conll", "x.csv") if "\t" in content and content[0] != "#" else ("x.conll",):
        found = read(put(content, name))
        assert (found[0].text, ranges(found[0])) == (text, spans)
        assert not found.counts


def test_labels_that_cannot_be_read_again_are_not_written(tmp_path):
    for label in ("O", "PER,B-LOC"):
        with pytest.raises(DataError, match="cannot be written as columns; fix: write JSONL"):
            write([Example("a", (Span(0, 1, label),))], tmp_path / "x.conll")


def test_other_widths(put):
    """A sentence that is wider throughout has a column more, one line holds a word with a blank."""
    narrow, wide = "so O\nis B-X\n\n" * 9, "so NN O\nis NN B-X\n\n"
    with pytest.raises(DataError, match="3 columns where the file has 2"):
        read(put(narrow + wide))
    (*_, last) = read(put(narrow + "10 000 B-N\nx O\n"))
    assert (last.text, ranges(last)) == ("10 000 x", [(0, 6, "N")])
    shorter = read(put("so NN O\nis NN B-X\n\n" * 9 + "so O\nis B-X\n"))
    assert len(shorter) == 10
