from functools import lru_cache

from pymongo import MongoClient
from pymongo.database import Database


@lru_cache
def client() -> MongoClient:
    return MongoClient("mongodb://localhost")


def get_database() -> Database:
    return client()["shop"]
