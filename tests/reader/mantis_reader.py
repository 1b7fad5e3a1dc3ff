"""Reads a mantis repository, format version 1, by docs/format.md alone.

usage: mantis_reader.py REPO list                 ids of the backups, oldest first
       mantis_reader.py REPO restore ID FILE      the password, if any, in MANTIS_PASSWORD; a file with an identity of
                                                  age in MANTIS_IDENTITY_FILE

Needs zstandard; cryptography for encrypted repositories. Proves every object by its name and every frame by its
checksum; leaves the page hashes to others.
"""
import base64
import json
import os
import struct
import sys
import zlib

# --- BLAKE3, as its paper describes it ---
IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
LANES = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
M = 0xFFFFFFFF


def compress(chain, block, counter, length, flags):
    v = list(chain) + list(IV[:4]) + [counter & M, counter >> 32, length, flags]
    for _ in range(7):
        for lane, (a, b, c, d) in enumerate(LANES):
            for word, (r1, r2) in ((block[2 * lane], (16, 12)), (block[2 * lane + 1], (8, 7))):
                v[a] = (v[a] + v[b] + word) & M
                x = v[d] ^ v[a]
                v[d] = ((x >> r1) | (x << (32 - r1))) & M
                v[c] = (v[c] + v[d]) & M
                x = v[b] ^ v[c]
                v[b] = ((x >> r2) | (x << (32 - r2))) & M
        block = [block[at] for at in ORDER]
    return [v[at] ^ v[at + 8] for at in range(8)]


def words(data):
    return list(struct.unpack("<16I", data.ljust(64, b"\0")))


def chunk_value(data, number, root):
    chain = IV
    blocks = [data[at : at + 64] for at in range(0, len(data), 64)] or [b""]
    for at, block in enumerate(blocks):
        last = at == len(blocks) - 1
        flags = (CHUNK_START if at == 0 else 0) | (CHUNK_END | (ROOT if root else 0) if last else 0)
        chain = compress(chain, words(block), number, len(block), flags)
    return chain


def tree(data, first, root):
    if len(data) <= 1024:
        return chunk_value(data, first, root)
    left = 1024
    while left * 2 < len(data):
        left *= 2
    block = tree(data[:left], first, False) + tree(data[left:], first + left // 1024, False)
    return compress(IV, block, 0, 64, PARENT | (ROOT if root else 0))


def blake3(data):
    return struct.pack("<8I", *tree(data, 0, True)).hex()


# --- codecs ---
def lz4_block(data, length):
    out, at = bytearray(), 0
    while at < len(data):
        token = data[at]
        at += 1
        count = token >> 4
        while count >= 15 and (count == 15 or data[at - 1] == 255):
            count += data[at]
            at += 1
        out += data[at : at + count]
        at += count
        if at >= len(data):
            break
        offset = data[at] | data[at + 1] << 8
        at += 2
        count = token & 15
        while count >= 15 and (count == 15 or data[at - 1] == 255):
            count += data[at]
            at += 1
        for _ in range(count + 4):
            out.append(out[-offset])
    assert len(out) == length
    return bytes(out)


def decompress(codec, data, length):
    if codec == 0:
        return data
    if codec == 1:
        return lz4_block(data, length)
    if codec == 2:
        import zstandard

        return zstandard.ZstdDecompressor().decompress(data, max_output_size=length)
    if codec == 3:
        return zlib.decompress(data, 31)
    raise ValueError(f"codec {codec}")


# --- keys ---
def hkdf(key, salt, info):
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), 32, salt, info).derive(key)


def unseal(key, nonce, data, associated):
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key).decrypt(nonce, data, associated)


def x25519_bytes(text, prefix):
    """The 32 bytes of a key of age: Bech32 (BIP 173), its checksum left to others."""
    text = text.lower()
    assert text.startswith(prefix + "1")
    bits = "".join(format("qpzry9x8gf2tvdw0s3jn54khce6mua7l".index(letter), "05b") for letter in text[len(prefix) + 1 : -6])
    return bytes(int(bits[at : at + 8], 2) for at in range(0, 256, 8))


def open_age(identity, data):
    """What a file of age with one X25519 recipient holds."""
    import hmac
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    def unbase64(text):
        return base64.b64decode(text + b"=" * (-len(text) % 4))

    version, stanza, wrapped, last, payload = data.split(b"\n", 4)
    assert version == b"age-encryption.org/v1" and stanza.startswith(b"-> X25519 ") and last.startswith(b"--- ")
    secret, ephemeral = X25519PrivateKey.from_private_bytes(identity), unbase64(stanza[10:])
    shared = secret.exchange(X25519PublicKey.from_public_bytes(ephemeral))
    own = secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    wrap = hkdf(shared, ephemeral + own, b"age-encryption.org/v1/X25519")
    file_key = ChaCha20Poly1305(wrap).decrypt(bytes(12), unbase64(wrapped), None)
    header = b"\n".join((version, stanza, wrapped, b"---"))
    assert hmac.digest(hkdf(file_key, b"", b"header"), header, "sha256") == unbase64(last[4:]), "a changed header"
    payload_key = hkdf(file_key, payload[:16], b"payload")
    return ChaCha20Poly1305(payload_key).decrypt(bytes(11) + b"\x01", payload[16:], None)


def u32(number):
    return struct.pack("<I", number)


class Repository:
    def __init__(self, folder, password=None, identity=None):
        self.folder, self.master = folder, {}
        header, chunk = self.object("mantis.repo", 1)
        params = json.loads(chunk)
        assert not params["required"], params["required"]
        self.id = header[12:28]
        if params["encrypted"]:
            self.unlock(password, identity)

    def read(self, name):
        with open(os.path.join(self.folder, name), "rb") as file:
            data = file.read()
        parts = name.split("/")
        if parts[0] in ("seg", "man", "lay"):
            assert blake3(data) == parts[2], f"{name} is not what its name says"
        return data

    def header(self, data, kind):
        header = data[:64]
        assert header[:4] == b"MNTS" and header[6] == kind
        assert struct.unpack_from("<H", header, 4)[0] == 1, "another version"
        assert zlib.crc32(header[:60]) == struct.unpack_from("<I", header, 60)[0]
        if kind != 1:
            assert header[12:28] == self.id, "another repository's"
        assert (header[7] == 1) == (bool(self.master) and kind not in (1, 7, 8)), "encrypted, or not, as it must not be"
        return header

    def frame(self, header, data, at, first_page, last):
        """The chunk of the frame at `at`, and where the frame ends."""
        stored, length, codec, cipher, flags, crc = struct.unpack_from("<IIBBHI", data, at)
        fields, payload = data[at : at + 12], data[at + 16 : at + 16 + stored]
        context = header + struct.pack("<QB", first_page, last)
        assert flags == 0 and len(payload) == stored and zlib.crc32(fields + context + payload) == crc, "a damaged frame"
        assert cipher == header[7]
        if cipher == 1:
            generation = struct.unpack_from("<I", header, 8)[0]
            info = b"mantis-backup 1 object" + self.id + u32(generation)
            key = hkdf(self.master[generation], header[28:60], info)
            payload = unseal(key, struct.pack("<QBxxx", first_page, last), payload, fields + context)
        chunk = decompress(codec, payload, length)
        assert len(chunk) == length
        return chunk, at + 16 + stored

    def object(self, name, kind):
        data = self.read(name)
        header = self.header(data, kind)
        chunk, end = self.frame(header, data, 64, 0, True)
        assert end == len(data)
        return header, chunk

    def slot_key(self, slot, password, identity):
        """The keyring's key, if the password or the identity opens the slot."""
        place = b"mantis-backup 1 slot" + self.id + bytes.fromhex(slot["id"]) + slot["kind"].encode()
        if slot["kind"] == "age" and identity:
            text = open_age(identity, base64.b64decode(slot["sealed"]))
            assert text.startswith(place) and len(text) == len(place) + 32, "the key of another slot"
            return text[len(place) :]
        if slot["kind"] != "password" or not password:
            return None
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

        cost, salt = slot["cost"], bytes.fromhex(slot["salt"])
        made = Argon2id(salt=salt, length=32, iterations=cost["passes"], lanes=cost["lanes"], memory_cost=cost["memory_kib"])
        key = made.derive(password.encode())
        about = place + u32(cost["memory_kib"]) + u32(cost["passes"]) + u32(cost["lanes"])
        if hkdf(key, salt, b"check" + about).hex() != slot["check"]:
            return None
        return unseal(hkdf(key, salt, b"seal" + about), bytes(12), bytes.fromhex(slot["sealed"]), about)

    def unlock(self, password, identity):
        names = sorted(os.listdir(os.path.join(self.folder, "keys")))
        rings = [name for name in names if name.startswith("ring-") and not name.endswith(".copy")]
        for name in (name for name in names if not name.startswith("ring-")):
            ring_key = self.slot_key(json.loads(self.object(f"keys/{name}", 7)[1]), password, identity)
            if ring_key is None:
                continue
            outer = json.loads(self.object(f"keys/{rings[-1]}", 8)[1])
            about = b"mantis-backup 1 keyring" + self.id + u32(int(rings[-1][5:]))
            salt = bytes.fromhex(outer["salt"])
            inner = json.loads(unseal(hkdf(ring_key, salt, about), bytes(12), bytes.fromhex(outer["sealed"]), about))
            self.master = {int(number): bytes.fromhex(key) for number, key in inner["master"].items()}
            return
        raise ValueError("nothing that was given opens a key")

    def listed(self, folder):
        path = os.path.join(self.folder, folder)
        return sorted(os.listdir(path)) if os.path.isdir(path) else []

    def backups(self):
        """The manifests of all backups, oldest first, each in its highest generation."""
        found, forgotten = {}, set(self.listed("forget"))
        for session in self.listed("out"):
            outcome = json.loads(self.object(f"out/{session}", 5)[1])
            if session in forgotten or outcome["outcome"] != "commit":
                continue
            manifest = json.loads(self.object(f"man/{session}/{outcome['manifest']}", 4)[1])
            assert not manifest["required"], manifest["required"]
            other = found.get(manifest["id"])
            if other is None or other["generation"] < manifest["generation"]:
                found[manifest["id"]] = manifest
        return sorted(found.values(), key=lambda manifest: (manifest["created_at"], manifest["session"]))

    def restore(self, manifest, path):
        size, count = manifest["page_size"], manifest["page_count"]
        with open(path, "wb") as out:
            out.truncate(count * size)
            for layer in manifest["layers"]:
                if "list" in layer:
                    layer = json.loads(self.object(f"lay/{layer['list']['session']}/{layer['list']['hash']}", 6)[1])
                runs = layer.get("borrows", [])
                for number, segment in enumerate(layer.get("segments", [])):
                    own = [run for run in runs if run["segment"] == number]
                    for page, content in self.pages(segment, size):
                        places = [page]
                        if runs:
                            inside = [run for run in own if run["from"] <= page < run["from"] + run["pages"]]
                            places = [run["first"] + page - run["from"] for run in inside]
                        for place in places:
                            if place <= count:
                                out.seek((place - 1) * size)
                                out.write(content)
            out.truncate(manifest["byte_len"])

    def pages(self, segment, size):
        data = self.read(f"seg/{segment['session']}/{segment['hash']}")
        assert len(data) == segment["len"]
        header = self.header(data, 3)
        at, length = segment["index_at"], segment["index_len"]
        assert blake3(data[at : at + length]) == segment["index_hash"]
        index, _ = self.frame(header, data, at, 0, True)
        page_size, frames, zeros, filled = struct.unpack_from("<IIII", index)
        assert page_size == size
        for page in page_set(index[16 : 16 + zeros]):
            yield page, bytes(size)
        numbers = page_set(index[16 + zeros : 16 + zeros + filled])
        at, table = 64, 16 + zeros + filled
        for number in range(frames):
            length, pages = struct.unpack_from("<II", index, table + 8 * number)
            own = [next(numbers) for _ in range(pages)]
            chunk, end = self.frame(header, data, at, own[0], False)
            assert end == at + length
            at = end
            for place, page in enumerate(own):
                yield page, chunk[place * size : (place + 1) * size]


def page_set(data):
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    position = 0
    for _ in range(number()):
        position += number()
        for _ in range(number()):
            position += 1
            yield position


def main():
    identity = None
    if file := os.environ.get("MANTIS_IDENTITY_FILE"):
        with open(file) as lines:
            line = next(line for line in lines if not line.startswith("#"))
        identity = x25519_bytes(line.strip(), "age-secret-key-")
    repo = Repository(sys.argv[1], os.environ.get("MANTIS_PASSWORD"), identity)
    if sys.argv[2] == "list":
        for manifest in repo.backups():
            print(manifest["id"])
        return
    manifest = next(manifest for manifest in repo.backups() if manifest["id"].startswith(sys.argv[3]))
    repo.restore(manifest, sys.argv[4])


if __name__ == "__main__":
    main()
