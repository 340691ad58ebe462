"""TFRecord shards of tf.train.Example records, read without TensorFlow.

A record is: length (uint64), its checksum, the bytes, their checksum; little-endian, masked CRC-32C. The source is
TensorFlow's `tfrecord` guide. TensorBoard's own reader is not used: it asks for as much memory as a record claims to
need, opens the file anew for every read, and takes a millisecond for the checksum of a 5 kB record.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from avtune.core.errors import UserError
from avtune.data.layouts.kinds import HEAD_BYTES, lost_or_packed

MAX_RECORD = 2**26  # a video-level record is 5 kB, a frame-level one under 1 MB
CHUNK = 1024  # bytes whose checksum is taken at once; the table for them is 1 MB


def read_records(path: Path) -> Iterator[bytes]:
    """The records of one shard, checksums verified.

    Raises:
        UserError: the file cannot be read or is damaged; names the file and the record (counted from 0).
    """
    try:
        with path.open("rb") as file:
            left = path.stat().st_size
            number = 0
            while left:
                where = f"{path}: record {number}"
                head = file.read(12)
                if len(head) < 12:
                    raise UserError(f"{where} is cut off after {len(head)} bytes; download this shard again")
                length, checksum = struct.unpack("<QI", head)
                if masked_crc32c(head[:8]) != checksum:
                    if number == 0 and (kind := lost_or_packed(head + file.read(HEAD_BYTES - len(head)))):
                        raise UserError(f"{path} {kind}")
                    raise UserError(f"{where} has a damaged length; this is no TFRecord file, or download it again")
                left -= 16 + length
                if left < 0 or length > MAX_RECORD:
                    raise UserError(f"{where} claims {length} bytes, more than it can have; download this shard again")
                body, tail = file.read(length), file.read(4)
                if len(tail) < 4 or masked_crc32c(body) != struct.unpack("<I", tail)[0]:
                    raise UserError(f"{where} is damaged (checksum); download this shard again")
                yield body
                number += 1
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def parse_example(record: bytes, where: str) -> dict[str, Any]:
    """The features of a serialised tf.train.Example by name: a list of bytes, a float32 array or an int64 array.

    Raises:
        UserError: the bytes are no such message.
    """
    example = _example_class()()
    try:
        example.ParseFromString(record)
    except DecodeError as error:
        raise UserError(f"{where} is no tf.train.Example; are these video-level YouTube-8M shards?") from error
    features: dict[str, Any] = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        if kind == "bytes_list":
            features[name] = list(feature.bytes_list.value)
        elif kind == "float_list":
            features[name] = np.array(feature.float_list.value, np.float32)
        elif kind == "int64_list":
            features[name] = np.array(feature.int64_list.value, np.int64)
    return features


@cache
def _example_class() -> Any:
    """The message class of tf.train.Example, from tensorflow/core/example/{example,feature}.proto, in a pool of its own
    so that it cannot clash with TensorFlow's."""
    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="avtune", syntax="proto3")

    def message(parent: Any, name: str, *fields: tuple[str, int, int, int, str | None]) -> Any:
        new = parent.add(name=name)
        for field_name, number, field_type, label, type_name in fields:
            new.field.add(name=field_name, number=number, type=field_type, label=label, type_name=type_name)
        return new

    one, many, sub = kind.LABEL_OPTIONAL, kind.LABEL_REPEATED, kind.TYPE_MESSAGE
    message(file.message_type, "BytesList", ("value", 1, kind.TYPE_BYTES, many, None))
    message(file.message_type, "FloatList", ("value", 1, kind.TYPE_FLOAT, many, None))
    message(file.message_type, "Int64List", ("value", 1, kind.TYPE_INT64, many, None))
    feature = message(
        file.message_type,
        "Feature",
        ("bytes_list", 1, sub, one, ".avtune.BytesList"),
        ("float_list", 2, sub, one, ".avtune.FloatList"),
        ("int64_list", 3, sub, one, ".avtune.Int64List"),
    )
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    features = message(file.message_type, "Features", ("feature", 1, sub, many, ".avtune.Features.FeatureEntry"))
    entry = message(
        features.nested_type,
        "FeatureEntry",
        ("key", 1, kind.TYPE_STRING, one, None),
        ("value", 2, sub, one, ".avtune.Feature"),
    )
    entry.options.map_entry = True
    message(file.message_type, "Example", ("features", 1, sub, one, ".avtune.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("avtune.Example"))


def masked_crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of `data`, rotated and offset as TFRecord files store it.

    The checksum is linear over bits, so that of a chunk is the exclusive or of one table entry a byte.
    """
    table = _crc_tables()
    state = 0xFFFFFFFF
    bytes_ = np.frombuffer(data, np.uint8)
    for start in range(0, len(bytes_), CHUNK):
        chunk = bytes_[start : start + CHUNK]
        if len(chunk) < 4:
            for byte in chunk.tolist():
                state = int(table[0, (state ^ byte) & 0xFF]) ^ (state >> 8)
            continue
        chunk = chunk.copy()
        chunk[:4] ^= np.frombuffer(struct.pack("<I", state), np.uint8)
        distance = np.arange(len(chunk) - 1, -1, -1)
        state = int(np.bitwise_xor.reduce(table[distance, chunk]))
    crc = state ^ 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _crc_tables() -> npt.NDArray[np.uint32]:
    """[CHUNK, 256]: what a byte adds to the checksum when d bytes follow it."""
    step = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        step = np.where(step & 1, (step >> 1) ^ np.uint32(0x82F63B78), step >> 1)
    tables = np.empty((CHUNK, 256), np.uint32)
    tables[0] = step
    for distance in range(1, CHUNK):
        before = tables[distance - 1]
        tables[distance] = (before >> 8) ^ step[before & 0xFF]
    return tables
