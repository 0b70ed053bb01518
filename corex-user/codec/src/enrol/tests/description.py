# The format from docs/enrolment.md alone, with Python's cryptography: prints the vectors that the
# document has. What is sealed for RSA is read from the input, since OAEP is random: DER in the first
# line, in hexadecimal digits, the packet in the second.
import hashlib, hmac, struct, sys
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_private_key, Encoding, PublicFormat

run = lambda first, last: bytes(range(first, last + 1))
mac = lambda key, data: hmac.new(key, data, hashlib.sha256).digest()


def extract(salt, key):
    return mac(salt or bytes(32), key)


def expand(secret, info, length):
    out, block, number = b"", b"", 1
    while len(out) < length:
        block = mac(secret, block + info + bytes([number]))
        out, number = out + block, number + 1
    return out[:length]


def hkdf(key, salt, info):
    return expand(extract(salt, key), info, 32)


# RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256) and HKDF-SHA256.
def labeled_extract(suite, salt, label, key):
    return extract(salt, b"HPKE-v1" + suite + label + key)


def labeled_expand(suite, secret, label, info, length):
    return expand(secret, struct.pack(">H", length) + b"HPKE-v1" + suite + label + info, length)


def hpke(ephemeral, recipient, cipher, number, info, aad, text):
    ephemeral = X25519PrivateKey.from_private_bytes(ephemeral)
    public = lambda key: key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    recipient = X25519PrivateKey.from_private_bytes(recipient)
    enc = public(ephemeral)
    dh = ephemeral.exchange(recipient.public_key())
    kem = b"KEM" + struct.pack(">H", 0x20)
    shared = labeled_expand(
        kem, labeled_extract(kem, b"", b"eae_prk", dh), b"shared_secret", enc + public(recipient), 32
    )
    suite = b"HPKE" + struct.pack(">HHH", 0x20, 1, number)
    context = (
        b"\0"
        + labeled_extract(suite, b"", b"psk_id_hash", b"")
        + labeled_extract(suite, b"", b"info_hash", info)
    )
    secret = labeled_extract(suite, shared, b"secret", b"")
    key = labeled_expand(suite, secret, b"key", context, 32)
    nonce = labeled_expand(suite, secret, b"base_nonce", context, 12)
    return enc + cipher(key).encrypt(nonce, text, aad)


device = bytes.fromhex("0b5f3a526f0e4c2e9d0a3a1c5e7b9d11")
key, current, nonce = run(0xA0, 0xBF), run(0x40, 0x5F), run(0x10, 0x1F)
time = 0x6A000000


def body(method, proven):
    out = bytes([0xC3, method, 3]) + device + key + struct.pack(">Q", time) + nonce
    return out + (mac(hkdf(current, b"", b"corex enrol 1 proof"), out) if proven else bytes(32))


def head(method, server, length):
    return bytes([0xC3, method, server]) + struct.pack(">H", length)


def show(vector, field, value):
    print(vector, field, value.hex())


salt = run(0x30, 0x3F)
first = head(1, 7, 139)
psk = AESGCM(hkdf(run(0, 0x1F), salt, b"corex enrol 1 psk"))
psk = first + salt + psk.encrypt(bytes(12), body(1, False), first)
show("psk", "server-key", run(0, 0x1F))
show("psk", "body", body(1, False))
show("psk", "packet", psk)
for name, method, cipher, number in [
    ("hpke-chacha20-poly1305", 3, ChaCha20Poly1305, 3),
    ("hpke-aes-256-gcm", 4, AESGCM, 2),
]:
    first = head(method, 8, 155)
    sealed = hpke(run(0x60, 0x7F), run(0x20, 0x3F), cipher, number, b"corex enrol 1", first, body(method, True))
    show(name, "server-key", run(0x20, 0x3F))
    show(name, "body", body(method, True))
    show(name, "packet", first + sealed)

der, packet = map(bytes.fromhex, sys.stdin.read().split())
assert packet[:5] == head(2, 9, 256)
oaep = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
show("rsa", "body", load_der_private_key(der, None).decrypt(packet[5:], oaep))
assert load_der_private_key(der, None).decrypt(packet[5:], oaep) == body(2, False)

for name, status, seconds in [("accepted", 0, 3600), ("taken", 1, 0)]:
    answer = bytes([0xC4]) + nonce + bytes([status]) + struct.pack(">I", seconds)
    show("answer", name, answer + mac(hkdf(key, b"", b"corex enrol 1 answer"), answer))

session = struct.pack(">I", time) + bytes([1, 2, 3, 4, 5, 6])
text = b"OPTIONS sip:a SIP/2.0\r\n\r\n"
for name, first, cipher, number, towards in [
    ("by-id", bytes([0xC2]) + device, ChaCha20Poly1305, 2, 0),
    ("by-address", bytes([0xC6]), AESGCM, 1, 1),
]:
    start = first + bytes([3]) + session + struct.pack(">I", 9)
    info = b"corex device 1" + bytes([number, towards, 3]) + device
    sealed = cipher(hkdf(key, session, info)).encrypt(
        bytes(8) + struct.pack(">I", 9), text, start + bytes([towards])
    )
    show("message", name, start + sealed)
    if name == "by-id":
        show("first", "packet", psk + start + sealed)
show("notice", "packet", bytes([0xC5]) + session + struct.pack(">I", 9))
