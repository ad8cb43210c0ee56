from django.db import models

from tests.end_to_end.contract.models.base import Sample


class Oddity(Sample):
    """Names that only a quoting function gets right.

    Not `$` and `%`: with these in a name the ORM itself can neither read nor save on PostgreSQL.
    """

    space = models.IntegerField(db_column="two  words ")
    upper = models.IntegerField(db_column="UPPER")
    reserved = models.IntegerField(db_column="select")
    unicode = models.IntegerField(db_column="größe €")
    apostrophe = models.IntegerField(db_column="it's")
    dot = models.IntegerField(db_column="a.b")
    comma = models.IntegerField(db_column="c, d) --")
    brace = models.IntegerField(db_column="{0}")
    backslash = models.IntegerField(db_column="back\\slash")
    longest = models.IntegerField(db_column="l" * 63)
    number = models.IntegerField(db_column="1")

    class Meta:
        db_table = "Odd 'table' größe; SELECT {1}"


class Reserved(Sample):
    order = models.IntegerField()
    group = models.IntegerField()
    name = models.TextField(blank=True, db_column="user")

    class Meta:
        db_table = "table"


class Longest(Sample):
    name = models.TextField(blank=True)

    class Meta:
        db_table = "long_" * 12 + "abc"


class Foreign(Sample):
    """A model in another schema, in the way that Django's users write one."""

    name = models.TextField(blank=True)
    reserved = models.ForeignKey(Reserved, models.CASCADE, null=True, blank=True)

    class Meta:
        db_table = '"other"."odd table"'


class Quoted(Sample):
    """Names with quotes in them: Django leaves a name alone that begins and ends with one."""

    name = models.TextField(blank=True, db_column='"already quoted"')
    title = models.TextField(blank=True, db_column='"say ""hello"""')

    class Meta:
        db_table = '"quoted ""table"""'
