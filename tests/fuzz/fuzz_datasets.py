"""Small datasets, spoiled in every way, as HDF5, npz and YouTube-8M shards."""

import json
import struct
import zipfile

import h5py
import numpy as np
from fuzz_mutate import HOSTILE, damaged, damaged_lines

from avtune.data.layouts.tfrecord import _example_class, masked_crc32c

CLASSES = (4, 7, 9)
DIMS = (10, 7)


def good_arrays(draw):
    """The six arrays of a dataset, in one of the forms that are read."""
    rng = np.random.default_rng(draw.getrandbits(32))
    made = {}
    for split, each in (("train", 8), ("test", 3)):
        labels = rng.permutation(np.repeat(CLASSES, each))
        made[f"audio_{split}"] = rng.normal(size=(len(labels), DIMS[0])).astype(np.float32)
        made[f"visual_{split}"] = rng.normal(size=(len(labels), DIMS[1])).astype(np.float32)
        made[f"lab_{split}"] = labels.astype(np.int64)
    if draw.random() < 0.4:
        made["class_names"] = np.array(["cat", "dog", "goat"])
    if draw.random() < 0.3:
        both = {
            part: np.concatenate([made[f"{part}_train"], made[f"{part}_test"]]) for part in ("audio", "visual", "lab")
        }
        marks = np.repeat([1, 0], [len(made["lab_train"]), len(made["lab_test"])])
        names = {"class_names": made["class_names"]} if "class_names" in made else {}
        made = {
            "audio_feat": both["audio"],
            "visual_feat": both["visual"],
            "Label_ID": both["lab"],
            "Train_test": marks,
        }
        made |= names
    for key in made:
        if key[0].lower() in "lt" and draw.random() < 0.3:
            made[key] = draw.choice(
                (lambda x: x[:, None], lambda x: x[None], lambda x: x.astype("S4"), lambda x: x.astype(str), float_)
            )(made[key])
    return made


def float_(array):
    return array.astype(np.float64)


def spoiled_arrays(arrays, draw):
    """The arrays with one to two things wrong, or merely odd."""
    for _ in range(draw.randint(1, 2)):
        arrays = dict(arrays)
        key = draw.choice(list(arrays))
        arrays = _spoil(arrays, key, draw)
    return arrays


def _spoil(arrays, key, draw):
    array = np.asarray(arrays[key])
    kind = draw.randrange(16)
    number = array.dtype.kind in "fiu"
    if kind == 0:
        del arrays[key]
    elif kind == 1:
        arrays[draw.choice((key + "s", key.upper(), "x", "a/b", "../up", "\x1b[31m", "audio_trian"))] = arrays.pop(key)
    elif kind == 2:
        arrays[key] = array[: draw.randrange(len(array) + 1)] if array.ndim else array
    elif kind == 3:
        arrays[key] = array[..., None] if draw.random() < 0.5 else array.reshape(-1)
    elif kind == 4 and number:
        to = draw.choice(("f2", "f8", ">f4", "i1", "u8", "i8", "?", "S3", "U5", "c8", "u2", "f4"))
        with np.errstate(all="ignore"):
            arrays[key] = array.astype(to)
    elif kind in (5, 6) and number and array.size:
        changed = array.astype(draw.choice((np.float32, np.float64)))
        bad = draw.choice((np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 1e300, 1e30, 0.0, 0.5, -1.0))
        with np.errstate(all="ignore"):
            for _ in range(draw.choice((1, 1, 5))):
                changed.reshape(-1)[draw.randrange(changed.size)] = bad
        arrays[key] = changed
    elif kind in (7, 8):
        label = draw.choice([one for one in arrays if one.lower().startswith("lab")] or [key])
        labels = np.atleast_1d(arrays[label])
        arrays[label] = draw.choice(
            (
                np.zeros(len(labels), np.int64),
                np.full(len(labels), 2**62),
                np.arange(len(labels)),
                np.array([str(draw.choice(HOSTILE))[:50].encode(errors="ignore") for _ in labels]),
                np.eye(3)[np.arange(len(labels)) % 3],
                labels[::-1].copy(),
                np.where(np.arange(len(labels)) == 0, 99, 4),
                np.full(len(labels), -5),
                np.full(len(labels), 1e18),
                np.zeros((0,)),
            )
        )
    elif kind == 9:
        names = draw.choice(
            (
                ["cat"],
                ["cat", "cat", "dog"],
                ["a\nb", "\x1b[31m", " "],
                ["<script>", "a|b", "c"],
                ["x" * 300] * 3,
                ["1"] * 50,
            )
        )
        arrays["class_names"] = np.array(names)
    elif kind == 10:
        arrays["class_names"] = draw.choice(
            (np.arange(3), np.array("cat"), np.zeros((0,), "S3"), np.array([b"\xff"] * 3))
        )
    elif kind == 11:
        arrays[draw.choice(("extra", "x" * 3000, "audio_feat"))] = np.ones(3)
    elif kind == 12:
        arrays[key] = array[:0]
    elif kind == 13 and number:
        arrays[key] = np.zeros_like(array)
    elif kind == 14:
        arrays[key] = np.asarray(draw.choice((1.5, b"text", 3)))
    else:
        arrays[key] = np.zeros((len(array) if array.ndim else 1, draw.choice((0, 1, 2, 3000))), np.float32)
    return arrays


def write_hdf5(path, arrays, draw):
    """An HDF5 file of the arrays in one of many layouts; sometimes with what no dataset should have."""
    with h5py.File(path, "w", libver=draw.choice(("earliest", "latest"))) as file:
        for key, array in arrays.items():
            array = np.asarray(array)
            if array.dtype.kind == "U":
                free = draw.random() < 0.5
                array = array.astype(object) if free else np.char.encode(array, "utf-8", "replace")
                more = {"dtype": h5py.string_dtype()} if free else {}
            else:
                more = {}
            if array.ndim and array.size and draw.random() < 0.5:
                more["chunks"] = tuple(draw.randint(1, size) for size in array.shape)
                if draw.random() < 0.6:
                    more["compression"] = draw.choice(("gzip", "lzf"))
                if array.dtype.kind != "O" and draw.random() < 0.3:
                    more["fletcher32"] = True
                more["shuffle"] = draw.random() < 0.3
            file.create_dataset(key.replace("\0", ""), data=array, **more)
        if draw.random() < 0.3:
            text = draw.choice((json.dumps(["cat", "dog", "goat"]), "[" * 5000, "{", "null", '["a"]', "\x1b[31m"))
            file.attrs["classes"] = draw.choice((text, np.bytes_(text.encode()), 3, np.arange(4)))
        if draw.random() < 0.25:
            _odd_member(file, draw.choice(list(arrays)), draw)


def _odd_member(file, key, draw):
    if key in file:
        del file[key]
    kind = draw.randrange(9)
    if kind == 0:
        file.create_dataset(key, (10**9, 10**6), np.float32, chunks=(100, 100), compression="gzip")
    elif kind == 1:
        file.create_dataset(key, (draw.choice((20000, 60000)), 10000), np.float32, chunks=(100, 100))
    elif kind == 2:
        file.create_dataset(key, (24, 8), np.float32, maxshape=(None, None), chunks=(2**12, 2**13), compression="gzip")
        file[key][0, 0] = 1.0 if draw.random() < 0.1 else 0.0
    elif kind == 3:
        file[key] = draw.choice(
            (h5py.SoftLink("/nowhere"), h5py.ExternalLink("/etc/passwd", "x"), h5py.SoftLink(f"/{key}"))
        )
    elif kind == 4:
        file.create_group(key)
    elif kind == 5:
        file[key] = h5py.Empty("f4")
    elif kind == 6:
        file.create_dataset(key, (24, 10), h5py.vlen_dtype(np.float32))
    elif kind == 7:
        file.create_dataset(key, (2**28,), h5py.string_dtype(), chunks=(2**16,))
    else:
        file.create_dataset(key, (24,), "S1000000", chunks=(1,))


def write_npz(path, arrays, draw):
    """An npz file of the arrays; sometimes with members that no dataset should have, or with lies about them."""
    arrays = {key.replace("/", "_"): value for key, value in arrays.items()}
    if draw.random() < 0.08:
        arrays[draw.choice(list(arrays))] = np.array([{"a": 1}, None], object)
    draw.choice((np.savez, np.savez_compressed))(path, **arrays)
    if draw.random() > 0.35:
        return
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    victim = draw.choice(list(members))
    kind = draw.randrange(6)
    if kind == 0:
        shape = draw.choice(
            (b"(1000000000, 1000000)", b"(24, -3)", b"(99999999999999999999,)", b"()", b"(40000, 40000)", b"x")
        )
        members[victim] = _with_header(members[victim], b"shape': ", shape)
    elif kind == 1:
        kind_text = draw.choice(
            (b"'|O'", b"'<f16'", b"'<M8[s]'", b"[('a', '<f4')]", b"'<U900000000'", b"'|V0'", b"'<f4,<f4'")
        )
        members[victim] = _with_header(members[victim], b"descr': ", kind_text)
    elif kind == 2:
        members[draw.choice(("../../up.npy", "/etc/up.npy", "C:\\up.npy"))] = members[victim]
    elif kind == 3:
        members[victim] = damaged(members[victim], draw)
    elif kind == 4:
        members[victim] = b"\x93NUMPY\x02\x00" + (2**24).to_bytes(4, "little") + b" " * 2**22
    else:
        members[victim] = b""
    packing = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(path, "w", packing) as file:
        for name, content in members.items():
            file.writestr(name, content)


def _with_header(member, before, value):
    size = int.from_bytes(member[8:10], "little")
    header = member[10 : 10 + size]
    at = header.find(before) + len(before)
    end = header.find(b", '", at) if b", '" in header[at:] else header.find(b", }", at)
    header = header[:at] + value + header[end:]
    return member[:8] + len(header).to_bytes(2, "little") + header + member[10 + size :]


def record(data):
    """Bytes as a TFRecord."""
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", masked_crc32c(head)) + data + struct.pack("<I", masked_crc32c(data))


def write_shards(folder, draw, *, spoil):
    """A folder of two shards and a class file."""
    folder.mkdir()
    rng = np.random.default_rng(draw.getrandbits(32))
    bodies = []
    for number in range(30):
        example = _example_class()()
        label = CLASSES[number % 3]
        example.features.feature["id"].bytes_list.value.append(b"id%02d" % number)
        example.features.feature["labels"].int64_list.value.extend([label, 3000])
        example.features.feature["mean_audio"].float_list.value.extend(rng.normal(size=DIMS[0]).tolist())
        example.features.feature["mean_rgb"].float_list.value.extend(rng.normal(size=DIMS[1]).tolist())
        bodies.append(example)
    names = "name,label_id\n" * (draw.random() < 0.5) + "cat,4\ndog,7\ngoat,9\n"
    if spoil:
        for _ in range(draw.randint(0, 2)):
            _spoil_example(draw.choice(bodies), draw)
    packed = [example.SerializeToString() for example in bodies]
    if spoil and draw.random() < 0.2:
        at = draw.randrange(len(packed))
        packed[at] = damaged(packed[at], draw)
    if spoil and draw.random() < 0.25:
        names = draw.choice(
            (
                damaged_lines(names, draw),
                "cat,4\ndog,7\n",
                "a,1\nb,2\n",
                "cat,4\ncat,7\n",
                "\x1b[31m,4\n<b>,7\n ,9\n",
                "cat,99999999999999999999\ndog,7\n",
                "cat,-4\n",
                '"' * 9,
                "cat;4\ndog;7\n",
            )
        )
    half = len(packed) // 2
    (folder / "train0.tfrecord").write_bytes(b"".join(map(record, packed[:half])))
    (folder / "train1.tfrecord").write_bytes(b"".join(map(record, packed[half:])))
    (folder / "classes.csv").write_bytes(names.encode())


def _spoil_example(example, draw):
    feature = example.features.feature
    key = draw.choice(("id", "labels", "mean_audio", "mean_rgb"))
    kind = draw.randrange(7)
    if kind == 0:
        del feature[key]
    elif kind == 1:
        feature[key].Clear()
    elif kind == 2:
        feature[key].Clear()
        feature[key].bytes_list.value.append(b"\xff" * draw.choice((0, 1, 100000)))
    elif kind == 3:
        feature["mean_audio"].float_list.value.append(1.0)
    elif kind == 4:
        feature["mean_rgb"].float_list.value[0] = draw.choice((float("nan"), float("inf"), 3e38, -3e38))
    elif kind == 5:
        feature["labels"].int64_list.value.append(draw.choice((4, 7, -1, 2**62)))
    else:
        feature["mean_\x1b[31m"].float_list.value.append(1.0)
