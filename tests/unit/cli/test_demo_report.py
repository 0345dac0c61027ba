"""If this fails, a long quantity in the demo's outcome is read under the wrong heading."""

from workers.cli.demo.report import HEADINGS, WIDTHS, columns


def test_a_number_that_fits_stands_under_its_heading() -> None:
    (heading,), (row,) = columns(HEADINGS), columns(["12", "5", "-", "7"])
    for name, cell in zip(HEADINGS, ["12", "5", "-", "7"], strict=True):
        end = heading.index(name) + len(name)
        assert row[:end].endswith(cell)


def test_a_number_that_does_not_fit_gets_its_own_line_and_ends_under_its_column() -> None:
    long = "3.14159265358979323846"
    rest, spilt = columns(["1503", "1500", long, "7"])
    assert rest.split() == ["1503", "1500", "7"]
    assert spilt == f"{long:>{sum(WIDTHS[:3])}}"
    assert max(len(rest), len(spilt)) <= 80
