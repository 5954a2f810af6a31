"""A small application: it goes live after the migrations, so the tables it reads are there."""

from __future__ import annotations

import json
import os
from typing import Any

import boto3
import psycopg2


def handler(_event: object, _context: object) -> dict[str, Any]:
    """Return how many products there are."""
    text = boto3.client("secretsmanager").get_secret_value(SecretId=os.environ["SECRET_NAME"])["SecretString"]
    secret = json.loads(text)
    connection = psycopg2.connect(
        host=secret["host"], port=secret["port"], dbname=secret["dbname"],
        user=secret["username"], password=secret["password"], sslmode=os.environ.get("SSL_MODE", "require"),
    )  # fmt: skip
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM products")
        (count,) = cursor.fetchone() or (0,)
    connection.close()
    return {"products": count}
