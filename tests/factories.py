import datetime as dt
from decimal import Decimal

import factory
from django.contrib.auth import get_user_model

from finance.models import Account, Transaction


class UserFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = get_user_model()

    username = factory.Sequence("user{}".format)


class AccountFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Account

    user = factory.SubFactory(UserFactory)
    number = factory.Sequence("CZ{:022d}".format)
    name = "Current account"
    opened_on = dt.date(2020, 1, 31)


class TransactionFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Transaction

    account = factory.SubFactory(AccountFactory)
    user = factory.SelfAttribute("account.user")
    amount = Decimal("-12.34")
    description = "Bread"
    tx_date = dt.date(2025, 2, 28)
