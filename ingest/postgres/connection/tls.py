"""Translates libpq's ``ssl…`` options into an SSL context that checks no less than libpq does.

The rules are from PostgreSQL's ``fe-secure-openssl.c`` and
https://www.postgresql.org/docs/current/libpq-ssl.html.
"""

from __future__ import annotations

import ssl
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.postgres.connection.libpq import refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALPN = "postgresql"

_OTHERS_MAY_USE = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_MAY_USE_ROOTS = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO
"""A key that root owns may be readable by its group, as in libpq."""


class _DirectSSLObject(ssl.SSLObject):
    """A handshake that fails unless the server confirms PostgreSQL's protocol by ALPN."""

    def do_handshake(self) -> None:
        super().do_handshake()
        if self.selected_alpn_protocol() != _ALPN:
            raise ssl.SSLError("the server does not answer to sslnegotiation=direct (ALPN)")


def ssl_context(options: Mapping[str, str]) -> ssl.SSLContext:
    """Make the context for options from ``libpq.resolve``, whatever their ``sslmode``.

    As in libpq, the server's certificate is checked whenever a root certificate exists, even if
    ``sslmode`` is ``require`` or less. Reads the files that the options name. Raises
    ``ConnectionOptionError`` if a named file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([_ALPN])
    if options["sslnegotiation"] == "direct":
        context.sslobject_class = _DirectSSLObject
    context.minimum_version = _version(options, "min", ssl.TLSVersion.TLSv1)
    context.maximum_version = _version(options, "max", ssl.TLSVersion.MAXIMUM_SUPPORTED)
    if options.get("sslkeylogfile"):
        context.keylog_filename = options["sslkeylogfile"]
    _trust(context, options)
    context.check_hostname = options["sslmode"] == "verify-full"
    if options.get("sslcertmode") != "disable":
        _present_certificate(context, options)
    return context


def _version(options: Mapping[str, str], end: str, default: ssl.TLSVersion) -> ssl.TLSVersion:
    name = f"ssl_{end}_protocol_version"
    value = options[name]
    if not value:
        return default
    versions = {v.name.replace("_", ".").lower(): v for v in ssl.TLSVersion if v.name[0] == "T"}
    if version := versions.get(value.lower()):
        return version
    raise refuse(name, value, f"it must be one of {', '.join(sorted(versions))}")


def _trust(context: ssl.SSLContext, options: Mapping[str, str]) -> None:
    named = options["sslrootcert"]
    if named == "system":
        context.set_default_verify_paths()
    else:
        root = _file(named, "root.crt")
        if not root.exists():
            if options["sslmode"].startswith("verify"):
                why = f"sslmode={options['sslmode']} needs the file {root}. Put it there"
                raise refuse("sslrootcert", named, why)
            return
        _load(context, "sslrootcert", root)
        _revoke(context, options)
    context.verify_mode = ssl.CERT_REQUIRED


def _revoke(context: ssl.SSLContext, options: Mapping[str, str]) -> None:
    lists, folder = options["sslcrl"], options["sslcrldir"]
    default = _file("", "root.crl")
    if folder:
        if not Path(folder).is_dir():
            raise refuse("sslcrldir", folder, "there is no such folder")
        context.load_verify_locations(capath=folder)
    if lists:
        # libpq ignores a list that it cannot read. Here a named file must be readable.
        _load(context, "sslcrl", Path(lists))
    elif not folder and default.exists():
        _load(context, "sslcrl", default)
    if lists or folder or default.exists():
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def _load(context: ssl.SSLContext, name: str, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        raise refuse(name, str(path), f"the file cannot be read: {error}") from error


def _present_certificate(context: ssl.SSLContext, options: Mapping[str, str]) -> None:
    certificate = _file(options["sslcert"], "postgresql.crt")
    if not certificate.exists():
        return  # as in libpq: the server decides whether it requires a certificate
    key = _file(options["sslkey"], "postgresql.key")
    if not key.is_file():
        why = f"there is no such file, but there is a certificate {certificate}. Name its key"
        raise refuse("sslkey", str(key), why)
    permissions = key.stat()
    forbidden = _OTHERS_MAY_USE if permissions.st_uid else _OTHERS_MAY_USE_ROOTS
    if permissions.st_mode & forbidden:
        raise refuse("sslkey", str(key), "others may read it. Take that away: chmod 600")
    try:
        # A password is always passed, so that OpenSSL does not prompt for one on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: options["sslpassword"])
    except OSError as error:
        why = f"with sslcert={str(certificate)!r} it cannot be read as PEM: {error}"
        raise refuse("sslkey", str(key), why) from error


def _file(named: str, default: str) -> Path:
    return Path(named) if named else Path("~/.postgresql").expanduser() / default
