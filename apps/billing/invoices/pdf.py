"""An invoice on paper: PDF/A-3, A4, in English whoever looks at it. The same document gives the same bytes: nothing in it depends on today.

It is rendered once and then kept with the invoice (`issued.pdf_of`), so a later version of this file changes no invoice that went out.
"""

from datetime import date
from decimal import Decimal
from functools import cache
from html import escape
from pathlib import Path

from fontTools.ttLib import TTFont
from fpdf import FPDF, FontFace
from fpdf.enums import Align, CellBordersLayout, VAlign, XPos, YPos
from fpdf.prefs import ViewerPreferences
from fpdf.table import Row, Table
from fpdf.util import Padding

from apps.billing.invoices.documents import InvoiceDocument, Line, in_favour
from apps.common.money import DECIMALS, in_words

FONTS = Path(__file__).parent / "fonts"
FACE, REGULAR, BOLD = "DejaVu", "DejaVuSansCondensed.ttf", "DejaVuSansCondensed-Bold.ttf"
INK, SOFT, FAINT, RULE = (18, 36, 47), (71, 89, 106), (110, 126, 139), (214, 222, 227)
KEEL, WASH = (11, 107, 122), (236, 245, 247)
LEFT, TOP, BOTTOM = 20, 22, 26
WIDTH = 210 - 2 * LEFT
COLUMNS = (94, 20, 27, 29)
"""Widths in mm: what it is, host-hours, price of one, amount."""
XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/"
   xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:pdf="http://ns.adobe.com/pdf/1.3/" xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/">
  <rdf:Description rdf:about="" xmp:CreatorTool="Carina" xmp:CreateDate="{at}" xmp:ModifyDate="{at}" xmp:MetadataDate="{at}"
    pdf:Producer="fpdf2" pdfaid:part="3" pdfaid:conformance="B">
   <dc:title><rdf:Alt><rdf:li xml:lang="x-default">{title}</rdf:li></rdf:Alt></dc:title>
   <dc:creator><rdf:Seq><rdf:li>{author}</rdf:li></rdf:Seq></dc:creator>
   <dc:language><rdf:Bag><rdf:li>en</rdf:li></rdf:Bag></dc:language>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>"""
"""Our own, since fpdf2's would name the moment of rendering."""


def render(*, document: InvoiceDocument) -> bytes:
    """Return the invoice as a PDF."""
    paper = Paper(document)
    paper.add_page()
    paper.letterhead()
    paper.parties()
    paper.band()
    paper.table_of_lines()
    paper.totals()
    paper.small_print()
    return bytes(paper.output())


class Paper(FPDF):
    """One invoice being drawn, from top to bottom."""

    def __init__(self, document: InvoiceDocument) -> None:
        super().__init__(enforce_compliance="PDF/A-3B")
        self.document = document
        self.add_font(FACE, "", FONTS / REGULAR)
        self.add_font(FACE, "B", FONTS / BOLD)
        self.set_margins(LEFT, TOP, LEFT)
        self.c_margin = 0
        self.set_auto_page_break(auto=True, margin=BOTTOM)
        self.set_title(document.title)
        self.set_author(document.seller.name)
        self.set_creator("Carina")
        self.set_producer("fpdf2")
        self.set_lang("en")
        self.set_creation_date(document.issued_at)
        self.viewer_preferences = ViewerPreferences(display_doc_title=True)
        at = document.issued_at.isoformat(timespec="seconds")
        self.set_xmp_metadata(XMP.format(at=at, title=escape(document.title), author=escape(document.seller.name)))

    def header(self) -> None:
        """Draw what every page begins with; the pages after the first say which invoice they are of."""
        self.set_fill_color(*KEEL)
        self.rect(0, 0, 210, 3, style="F")
        if self.page_no() > 1:
            self.set_xy(LEFT, 11)
            self._write(self.document.title, size=8.5, colour=SOFT, bold=True, height=4)
            self.set_xy(LEFT, 11)
            self._write(self.document.customer.name, size=8.5, colour=SOFT, align=Align.R, height=4)
            self.set_xy(LEFT, TOP)

    def footer(self) -> None:
        """Draw what every page ends with: who sells, and which page of how many this is."""
        self.set_y(-17)
        self.set_draw_color(*RULE)
        self.line(LEFT, self.get_y(), LEFT + WIDTH, self.get_y())
        self.set_y(-15)
        seller = self.document.seller
        words = [seller.name, f"VAT ID {seller.vat_id}" if seller.vat_id else "", seller.email]
        self._set(size=7.5, colour=FAINT)
        self.cell(w=WIDTH - 30, h=4, text=shortened(covered(" · ".join(word for word in words if word)), paper=self, width=WIDTH - 32))
        self.cell(w=30, h=4, text=f"{self.page_no()} / {{nb}}", align=Align.R)

    def letterhead(self) -> None:
        """Draw who sells, and what this is."""
        seller, number_of_it = self.document.seller, self.document.number
        self.set_xy(LEFT, 16)
        self._write(seller.name, size=14, colour=INK, bold=True, width=105, height=6.2)
        for text in [*seller.address, seller.country_name]:
            if text:
                self._write(text, size=8.5, colour=SOFT, width=105, height=4.1)
        end = self.get_y()
        self.set_xy(LEFT + 105, 15)
        self._write(
            "Credit note" if self.document.is_credit_note else "Invoice", size=22, colour=KEEL, bold=True, width=65, align=Align.R, height=9
        )
        self.set_x(LEFT + 105)
        self._write(
            number_of_it, size=self._size_for(number_of_it, width=65, most=11), colour=INK, bold=True, width=65, align=Align.R, height=5.5
        )
        self.set_y(max(end, self.get_y(), 44) + 7)

    def parties(self) -> None:
        """Draw who buys, beside the dates."""
        top = self.get_y()
        self._write("Billed to", size=7.5, colour=FAINT, height=4.5)
        customer = self.document.customer
        self._write(customer.name or "–", size=10, colour=INK, bold=True, width=88, height=5)
        for text in [*customer.address, customer.country_name, f"VAT ID {customer.vat_id}" if customer.vat_id else ""]:
            if text:
                self._write(text, size=9, colour=INK, width=88, height=4.4)
        end = self.get_y()
        self.set_y(top)
        for label, value in facts(document=self.document):
            y = self.get_y()
            self.set_xy(LEFT + 96, y)
            self._write(label, size=8.5, colour=FAINT, width=26, height=5)
            self.set_xy(LEFT + 120, y)
            self._write(value, size=8.5, colour=INK, width=50, align=Align.R, height=5)
        self.set_y(max(end, self.get_y()) + 6)

    def band(self) -> None:
        """Draw the one number people look for."""
        document = self.document
        if document.is_credit_note:
            said, amount, behind = "Credited to you", -document.gross, f"on invoice {document.corrects}"
        elif document.due > 0:
            said, amount, behind = "Amount due", document.due, f"by {day(document.due_on)}"
        else:
            behind = "nothing to pay"
            if document.prepaid:
                behind = "added to your prepaid credit" if in_favour(document=document) else "paid from prepaid credit"
            said, amount = "Amount due", document.due
        top = self.get_y()
        self.set_fill_color(*WASH)
        self.rect(LEFT, top, WIDTH, 15, style="F", round_corners=True, corner_radius=1.5)
        self.set_xy(LEFT + 5, top + 4.75)
        self._write(said, size=10, colour=SOFT, width=45, height=5.5)
        self.set_xy(LEFT + 45, top + 4.75)
        self._write(behind, size=9, colour=SOFT, width=60, height=5.5)
        self.set_xy(LEFT + 100, top + 3.75)
        self._write(
            in_words(amount=amount, currency=document.currency), size=16, colour=KEEL, bold=True, width=65, align=Align.R, height=7.5
        )
        self.set_y(top + 15 + 7)

    def table_of_lines(self) -> None:
        """Draw the lines; the head is repeated on every page."""
        self._set(size=8.5, colour=INK)
        self.set_draw_color(*RULE)
        self.set_line_width(0.2)
        self.set_fill_color(0)  # fpdf2's own first colour, which means that cells are not filled
        currency = self.document.currency
        head = FontFace(emphasis="BOLD", color=SOFT, size_pt=7.5)
        table: Table
        with self.table(
            width=WIDTH, col_widths=COLUMNS, headings_style=head, line_height=4.4, padding=Padding(1.15, 0, 1.15, 0),
            borders_layout="NONE", text_align=(Align.L, Align.R, Align.R, Align.R), v_align=VAlign.T,
        ) as table:  # fmt: skip
            self._row(table.row(), ["Description", "Host-hours", f"Per hour ({currency})", f"Amount ({currency})"])
            for line in self.document.lines:
                self._row(table.row(), self._cells(line))
        if any(line.hours is not None for line in self.document.lines):
            self.ln(1.5)
            self._write(
                "Billed per second: hours are shown rounded, amounts are computed from the seconds.", size=7, colour=FAINT, height=3.6
            )

    def totals(self) -> None:
        """Draw how the lines add up."""
        document = self.document
        rows = [("Net", document.net)]
        if document.tax_percent or document.tax:
            rows.append((f"{document.tax_name or 'Tax'} {document.tax_rate} %", document.tax))
        rows.append(("Total", document.gross))
        if document.prepaid:
            rows.append(("Added to your prepaid credit" if in_favour(document=document) else "Paid from prepaid credit", -document.prepaid))
        last = ("Credited", -document.gross) if document.is_credit_note else ("Amount due", document.due)
        height = 6 * len(rows) + 12
        if self.will_page_break(height):
            self.add_page()
        self.ln(3)
        for label, amount in rows:
            self._total(label, amount, size=9, bold=label == "Total")
        self.ln(1)
        self.set_draw_color(*KEEL)
        self.set_line_width(0.5)
        self.line(LEFT + 85, self.get_y(), LEFT + WIDTH, self.get_y())
        self.ln(1.2)
        self._total(*last, size=11, bold=True, colour=KEEL)

    def small_print(self) -> None:
        """Draw what the law and the seller have to say: tax, what is corrected, how to pay."""
        document = self.document
        parts = [("", document.tax_text.strip()), ("", document.note)]
        if document.due > 0:
            amount = in_words(amount=document.due, currency=document.currency)
            terms = f"Please pay {amount} by {day(document.due_on)}, naming {document.number}."
            parts.append(("How to pay", f"{terms}\n{document.payment_text}".strip()))
        self.ln(5)
        for title, text in parts:
            if not text:
                continue
            if self.will_page_break(14):
                self.add_page()
            if title:
                self._write(title, size=9, colour=INK, bold=True, height=5.5)
            self._write(text, size=8.5, colour=SOFT, height=4.4)
            self.ln(2.5)

    def _cells(self, line: Line) -> list[str]:
        text = line.text
        if line.is_late and (month := self.document.month_of_use(line=line)) and month not in text:
            text = f"{text} (used in {month}, recorded after its invoice)"
        hours = f"{line.hours:,.2f}" if line.hours is not None else ""
        price = f"{line.per_hour:,.{places(line.per_hour)}f}" if line.per_hour is not None else ""
        return [text, hours, price, number(line.amount, currency=self.document.currency)]

    def _row(self, row: Row, cells: list[str]) -> None:
        for text in cells:
            row.cell(covered(text), border=CellBordersLayout.BOTTOM)

    def _total(self, label: str, amount: Decimal, *, size: float, bold: bool, colour: tuple[int, int, int] = INK) -> None:
        y = self.get_y()
        self.set_xy(LEFT + 85, y)
        self._write(label, size=size, colour=colour if bold else SOFT, bold=bold, width=50, height=5.5)
        self.set_xy(LEFT + 130, y)
        self._write(
            in_words(amount=amount, currency=self.document.currency),
            size=size,
            colour=colour,
            bold=bold,
            width=40,
            align=Align.R,
            height=5.5,
        )

    def _size_for(self, text: str, *, width: float, most: float) -> float:
        """Return the largest size up to `most` in which the text, set in bold, fits into so many mm of one line; 6 where none does."""
        size = most
        while size > 6:  # noqa: PLR2004 - what one can still read
            self._set(size=size, colour=INK, bold=True)
            if self.get_string_width(covered(text)) <= width:
                break
            size -= 0.5
        return size

    def _set(self, *, size: float, colour: tuple[int, int, int], bold: bool = False) -> None:
        self.set_font(FACE, "B" if bold else "", size)
        self.set_text_color(*colour)

    def _write(
        self, text: str, *, size: float, colour: tuple[int, int, int], bold: bool = False, width: float = WIDTH, align: Align = Align.L,
        height: float = 5,
    ) -> None:  # fmt: skip
        """Write a paragraph where the pen is, and leave the pen at the left edge below it."""
        self._set(size=size, colour=colour, bold=bold)
        self.multi_cell(w=width, h=height, text=covered(text), align=align, new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def facts(*, document: InvoiceDocument) -> list[tuple[str, str]]:
    """Return what stands beside the customer's address."""
    found = [("Issued", day(document.issued_on))]
    if document.is_credit_note:
        found.append(("Corrects", f"{document.corrects}{f' of {day(document.corrects_issued_on)}' if document.corrects_issued_on else ''}"))
    else:
        found.append(("Due", day(document.due_on)))
    found += [("Used from", day(document.first_day)), ("Used until", day(document.last_day)), ("Time zone", document.time_zone)]
    if document.plan:
        found.append(("Plan", document.plan))
    return found


def day(at: date) -> str:
    """Return a day without doubt about which number is the month."""
    return f"{at:%-d %B %Y}"


def number(amount: Decimal, *, currency: str) -> str:
    """Return an amount for a column whose head names the currency."""
    sign = "\N{MINUS SIGN}" if amount < 0 else ""
    return f"{sign}{abs(amount):,.{DECIMALS.get(currency, 2)}f}"


def places(price: Decimal) -> int:
    """Return how many decimals a price is shown with: four, or as many more as it has."""
    return max(4, -int(price.normalize().as_tuple().exponent))


def covered(text: str) -> str:
    """Return the text with a box for every sign that the fonts do not have."""
    known = _signs()
    return "".join(sign if ord(sign) in known or sign == "\n" else "\N{WHITE SQUARE}" for sign in text)


def shortened(text: str, *, paper: FPDF, width: float) -> str:
    """Return as much of the text as fits into so many mm of one line."""
    if paper.get_string_width(text) <= width:
        return text
    while text and paper.get_string_width(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


@cache
def _signs() -> frozenset[int]:
    """The signs both fonts have."""
    known = []
    for name in (REGULAR, BOLD):
        with TTFont(FONTS / name) as font:
            known.append(frozenset(font.getBestCmap() or ()))
    return frozenset.intersection(*known)
