from django.db import models

from tests.end_to_end.contract.models.base import Sample


class Text(Sample):
    title = models.CharField(max_length=20, blank=True)
    title_or_null = models.CharField(max_length=20, blank=True, null=True)  # noqa: DJ001
    endless = models.CharField(blank=True)
    body = models.TextField(blank=True)
    body_or_null = models.TextField(blank=True, null=True)  # noqa: DJ001
    sorted_title = models.CharField(max_length=20, blank=True, db_collation="C")
    sorted_body = models.TextField(blank=True, db_collation="C")
    colour = models.CharField(max_length=10, choices=[("r", "red"), ("grün", "green")])


class Contact(Sample):
    email = models.EmailField(blank=True)
    email_or_null = models.EmailField(blank=True, null=True)  # noqa: DJ001
    slug = models.SlugField(blank=True, allow_unicode=True)
    slug_or_null = models.SlugField(blank=True, null=True)  # noqa: DJ001
    url = models.URLField(blank=True)
    url_or_null = models.URLField(blank=True, null=True)  # noqa: DJ001
    address = models.GenericIPAddressField()
    address_or_null = models.GenericIPAddressField(null=True, blank=True)
    address_v4 = models.GenericIPAddressField(protocol="IPv4")
    address_v6 = models.GenericIPAddressField(protocol="IPv6")
    address_unpacked = models.GenericIPAddressField(unpack_ipv4=True)


class Upload(Sample):
    document = models.FileField(blank=True, upload_to="documents")
    document_or_null = models.FileField(blank=True, upload_to="documents", null=True)
    picture = models.ImageField(blank=True, upload_to="pictures")
    picture_or_null = models.ImageField(blank=True, upload_to="pictures", null=True)
    path = models.FilePathField(path="/")
    path_or_null = models.FilePathField(path="/", null=True, blank=True)  # noqa: DJ001
