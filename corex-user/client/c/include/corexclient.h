/* The phone's side of a corex codec chain, for apps.
 *
 * A client is one device. It opens no socket, starts no thread and asks for no time: the app hands in what
 * came from either side, and takes out what is to be sent. docs/enrolment.md of corex says what it does
 * where the chain has key=device.
 *
 *     corex_client_send(client, now, message, len);           a plain SIP message of the app's
 *     corex_client_receive(client, now, packet, len);         a datagram from the server
 *     corex_client_tick(client, now);                         when corex_client_next_tick() is due
 *     while ((to = corex_client_next_output(client, room, sizeof room, &len)) > 0)
 *         to == COREX_CLIENT_TO_SERVER ? send it : give it to the app;
 *
 * after each of the first three. Times are milliseconds since 1970, of one clock. One thread at a time may
 * use a client; several clients are independent of each other.
 *
 * Link libcorexclient.a with -lpthread -ldl -lm, or libcorexclient.so.
 */
#ifndef COREXCLIENT_H
#define COREXCLIENT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct corex_client corex_client;

/* Texts are UTF-8 and end with NUL; lists end with NULL. What isn't needed is NULL. Nothing is kept of
 * them after corex_client_new(). */
typedef struct corex_client_options {
    const char *chain;               /* the server's line behind "NAME=" */
    const char *server;              /* ADDRESS:PORT, [ADDRESS]:PORT */
    const char *server_key;          /* [ID:]file:/PATH of its public key, or of the shared secret */
    const char *const *keys;         /* keys that the chain names: NAME=[ID:]file:/PATH */
    const char *const *dictionaries; /* NAME=/PATH */
    const char *device;              /* its UUID; NULL: a new one */
    int prefers_aes;                 /* of HPKE's two ciphers, take AES-256-GCM */
} corex_client_options;

#define COREX_CLIENT_TO_SERVER 1
#define COREX_CLIENT_TO_APP 2

/* NULL if the options are wrong; error then says why, ended by NUL, as far as there is room. */
corex_client *corex_client_new(const corex_client_options *options, char *error, size_t size);

/* Keys are overwritten. NULL is fine. */
void corex_client_free(corex_client *client);

/* All three: 0 done, -1 an argument is NULL. What can't be decoded is dropped. */
int corex_client_send(corex_client *client, uint64_t now, const uint8_t *message, size_t len);
int corex_client_receive(corex_client *client, uint64_t now, const uint8_t *packet, size_t len);
int corex_client_tick(corex_client *client, uint64_t now);

/* When corex_client_tick() has something to do; -1: not before something arrives. */
int64_t corex_client_next_tick(const corex_client *client);

/* What is to be sent next: COREX_CLIENT_TO_SERVER, COREX_CLIENT_TO_APP; 0 nothing; -1 an argument is NULL;
 * -2 it is longer than size: *len says how long, and it stays. 65535 bytes are always enough. */
int corex_client_next_output(corex_client *client, uint8_t *room, size_t size, size_t *len);

#ifdef __cplusplus
}
#endif

#endif
