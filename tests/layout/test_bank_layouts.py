"""The layouts that ship for banks, on small files of the same shapes, written for this."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest

from finance.models import Transaction
from ingest import load
from ingest.layout import layout_names

pytestmark = pytest.mark.django_db(transaction=True)

ALIPAY_HEADER = "交易时间 ,交易对方 ,商品说明 ,收/支 ,金额 ,\n"
AIR_BANK_HEADER = (
    '"Datum provedení";"Datum zaúčtování";"Číslo účtu";"4";"5";"6";"Název protiúčtu";'
    '"Typ transakce";"Zpráva";"10";"11";"12";"13";"Zaúčtovaná částka";"15";"16";"17";"18";"Id"\n'
)
CASES = {
    "banco_do_brasil": (
        'Data,Histórico,Valor,\n"10/31/2012","Café","-1.50",\n'.encode("cp1252"),
        [("2012-10-31", "-1.50", "Café")],
    ),
    "akb": (
        (
            "Buchung;Buchungstext;Belastung;Gutschrift;\n"
            "31.12.2022; Miete ;1'200.50;;\n30.12.2022;Lohn;;5'000.00;\n"
        ),
        [("2022-12-31", "-1200.50", "Miete"), ("2022-12-30", "5000.00", "Lohn")],
    ),
    "cler": (
        (
            "Data di registrazione;Data valuta;Tipo di ordine;Testo;Addebito;Accredito\n"
            '21.10.2024;x;Pagamento;"uno\ndue";9.50;\n'
        ),
        [("2024-10-21", "-9.50", "Pagamento: uno\ndue")],
    ),
    "credit_suisse": (
        (
            "Konto\nx\ny,z\nSaldo,1'000.00 CHF\nw\n"
            "Buchungsdatum,Text,Belastung,Gutschrift,Valutadatum\n"
            "24.08.2023,Brot,1.54,,24.08.2023\n23.08.2023,Lohn,,10,23.08.2023\nTotal,,1.54,10,\n"
        ),
        [("2023-08-24", "-1.54", "Brot"), ("2023-08-23", "10.00", "Lohn")],
    ),
    "postfinance": (
        (
            "\n\na;1\nb\nc\nd\ne\nf\ng\nh;2;3\n\n"
            "Data;Descrizione della transazione;Accreditamento;Debito;Valuta\n"
            "31.08.2003;Saldo;;;\n01.09.2003;Pane;;-28.60;01.09.2003\n02.09.2003;Paga;26.80;;x\n\n"
            "Saldo al;CHF 5\n"
        ),
        [
            ("2003-08-31", "0.00", "Saldo"),
            ("2003-09-01", "-28.60", "Pane"),
            ("2003-09-02", "26.80", "Paga"),
        ],
    ),
    "alipay": (
        ("说明\n" * 22 + ALIPAY_HEADER).encode("gb18030")
        + (
            "2023-02-12 21:32:14 ,甲 ,饭 ,支出 ,49.74 ,\n2023-02-13 01:00:00,乙,,收入,5.00,\n"
        ).encode("gb18030"),
        [("2023-02-12", "-49.74", "甲: 饭"), ("2023-02-13", "5.00", "乙")],
    ),
    "air_bank": (
        (
            AIR_BANK_HEADER
            + '27.05.2018;"27.05.2018";"1/0";"";"";"";"Jiří";"Platba";"";"";"";"";"";"-1 000,50";'
            '"";"";"";"";"77"\n'
        ).encode("cp1250"),
        [("2018-05-27", "-1000.50", "Platba, Jiří")],
    ),
    "deutsche_bank": (
        (
            "Konto\n06.11.2023 - 30.01.2024\nx;;;;1,00;EUR\nHinweis\n"
            "Buchungstag;Wert;Umsatzart;Name;Verwendungszweck;Soll;Haben\n"
            "06.11.2023;x;Karte;Bäcker;Brot;-1.054,00;\n07.11.2023;x;Lohn;;;;27,76\n"
            "Kontostand;30.01.2024;;;6.197,54\n"
        ),
        [("2023-11-06", "-1054.00", "Karte, Bäcker, Brot"), ("2023-11-07", "27.76", "Lohn")],
    ),
    "sparkasse": (
        (
            '"Auftragskonto";"Buchungstag";"Buchungstext";"Verwendungszweck";'
            '"Beguenstigter/Zahlungspflichtiger";"Betrag"\n'
            '"DE1";"28.06.24";"Karte";"Brot";"Bäcker";"-1.239,58"\n'
        ),
        [("2024-06-28", "-1239.58", "Karte, Bäcker, Brot")],
    ),
    "bank_of_ireland": (
        "Date,Details,Debit,Credit,Balance\n01/09/2017,Rent,512.0,,\n02/09/2017,Pay,,29.5,100\n",
        [("2017-09-01", "-512.00", "Rent"), ("2017-09-02", "29.50", "Pay")],
    ),
    "ja_bank": (
        (
            '"取扱日付","お支払金額","お預り金額","取引区分","摘要"\n'
            '"4月30日","","\\7,000","振込","ｳ"\n"5月1日","\\4,600","","出金",""\n'
        ).encode("cp932"),
        [("2024-04-30", "7000.00", "振込 ｳ"), ("2024-05-01", "-4600.00", "出金")],
    ),
    "bunq": (
        'Date,Amount,Account,Name,Description\n2018-12-06,"-1.008,78",NL1,Shop,"Tea, green"\n',
        [("2018-12-06", "-1008.78", "Shop: Tea, green")],
    ),
    "stripe": (
        "id,description,created,amount\nch_1,Ticket,2021-02-03 13:12,25.00\n",
        [("2021-02-03", "25.00", "Ticket")],
    ),
    "chase": (
        "DEBIT,2011/12/24,HOST,($85.00)\nDEBIT,2006/12/24,BACK,$.23\n",
        [("2011-12-24", "-85.00", "HOST"), ("2006-12-24", "0.23", "BACK")],
    ),
    "venmo": (
        (
            ',31,2002-09-10T23:00:04,Payment,Complete,,,"Taxi, Inc",- $21.59,\n'
            ',,,,,,,,,"In case of errors\n  write"\n'
        ),
        [("2002-09-10", "-21.59", "Payment, Taxi, Inc")],
    ),
    "xero": (
        "JournalDate,AccountName,NetAmount,Reference,Description\r23-Jan-15,Cash,-36000,I1,Sales\r",
        [("2015-01-23", "-36000.00", "Sales, I1")],
    ),
}


def test_every_layout_has_its_test():
    assert {*CASES, "berka_accounts", "berka_transactions"} == set(layout_names())


@pytest.mark.parametrize("name", CASES)
def test_a_bank_layout_reads_its_statement(name):
    text, want = CASES[name]
    file = io.BytesIO(text.encode() if isinstance(text, str) else text)
    load(Transaction, file, layout=name)
    got = [
        (str(row.tx_date), row.amount, row.description)
        for row in Transaction.objects.order_by("pk")
    ]
    assert got == [(day, Decimal(amount), text) for day, amount, text in want]
