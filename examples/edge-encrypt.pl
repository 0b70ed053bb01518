# ChaCha20-Poly1305 (RFC 8439) with a key that both ends have: for edge-encrypt.cfg.
#
# When to use it: a key for all devices is better than none, and worse than one for each. Here is
# where to look one up: by $m->pseudoVar('$si') and the like.
#
# On the wire: 12 random bytes, the encrypted message, 16 bytes that nobody makes without the key.
# Needs CryptX: apt-get install libcryptx-perl.

use strict;
use warnings;
use Crypt::AuthEnc::ChaCha20Poly1305
    qw(chacha20poly1305_encrypt_authenticate chacha20poly1305_decrypt_verify);
use Crypt::PRNG qw(random_bytes);

# 32 bytes. Make your own: openssl rand -hex 32
my $key = pack 'H*', '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f';

sub encrypt {
    my ($m, $message) = @_;
    my $nonce = random_bytes(12);
    my ($hidden, $tag) = chacha20poly1305_encrypt_authenticate($key, $nonce, '', $message);
    Kamailio::AVP::add('msg', $nonce . $hidden . $tag);
    return 1;
}

sub decrypt {
    my ($m, $packet) = @_;
    return -1 if length $packet < 12 + 16;
    my ($nonce, $hidden, $tag) = unpack 'a12 a' . (length($packet) - 28) . ' a16', $packet;
    my $message = chacha20poly1305_decrypt_verify($key, $nonce, '', $hidden, $tag);
    return -1 unless defined $message;
    Kamailio::AVP::add('msg', $message);
    return 1;
}
