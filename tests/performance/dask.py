"""Two workers of Dask, which run already, against two processes of the load's own."""

import atexit
from importlib import import_module

import django
import pyarrow as pa
from distributed import Client
from django.conf import settings
from django.db import connection

from finance.models import Transaction
from ingest import load
from tests.loading.dask_cluster import Cluster
from tests.performance.customer import fill_segments
from tests.performance.customers.models import Customer
from tests.performance.harness import Figure, Ratio
from tests.performance.ledger import fill
from tests.performance.workers import CHUNKS, CUSTOMERS, files, fill_customers

_clusters = []


def start(trial):
    """Start a scheduler and two workers, which run until this process ends.

    They have imported all, as they have after their first load.
    """
    connection.ensure_connection()  # an embedded server starts, and says where it is
    facts = connection.settings_dict
    place = f"host={facts['HOST']}&port={facts['PORT']}"
    url = f"postgres://{facts['USER']}@/{facts['NAME']}?{place}"
    cluster = Cluster(trial.folder, url, settings=settings.SETTINGS_MODULE)
    _clusters.append(cluster)
    atexit.register(cluster.end)
    with Client(cluster.address, set_as_default=False) as client:
        client.run(django.setup)
        client.run(import_module, "ingest.loading.workers.worker")
        client.run(pa.array, [None])  # which imports pandas, where it is installed


def scheduler():
    """Return the address of the cluster that was started."""
    return _clusters[-1].address


def finance(trial, **who):
    rows = trial.rows // CHUNKS
    return load(Transaction, trial.path("plain.csv"), resumable=True, chunk_rows=rows, **who)


def customers(trial, **who):
    rows = trial.rows // CUSTOMERS // CHUNKS
    return load(Customer, trial.path("customers.csv"), resumable=True, chunk_rows=rows, **who)


def fill_and_start(fill_table):
    def prepare(trial):
        fill_table(trial)
        start(trial)

    return prepare


FIGURE = Figure(
    about="Into a table of as many rows, in chunks.",
    rows=400_000,
    files=files,
    fill=fill_segments,
    tables="finance_transaction, customers_customer",
    variants={
        "finance, 2 workers": lambda trial: finance(trial, workers=2),
        "finance, Dask": lambda trial: finance(trial, scheduler=scheduler()),
        "customers, 2 workers": lambda trial: customers(trial, workers=2),
        "customers, Dask": lambda trial: customers(trial, scheduler=scheduler()),
    },
    prepare={
        "finance, 2 workers": fill,
        "finance, Dask": fill_and_start(fill),
        "customers, 2 workers": fill_customers,
        "customers, Dask": fill_and_start(fill_customers),
    },
    ratios=[
        Ratio(of="finance, Dask", to="finance, 2 workers", goal=1.1),
        Ratio(of="customers, Dask", to="customers, 2 workers", goal=1.1),
    ],
    note="A quarter as many customers as transactions. Dask's two workers run already, and have "
    "imported Django; processes of the load's own start with each load. "
    "CPU and memory are the coordinator's.",
)
