/* Sends one OPTIONS to a server by its chain, and prints the answer.
 *
 *     cc options.c -I../include libcorexclient.a -lpthread -ldl -lm -o options
 *     ./options 192.0.2.1:5060 'zstd(sip) | aead(chacha20-poly1305, key=device)' file:/etc/enrol.pub
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "corexclient.h"

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

/* Sends what is to be sent; 1 once the app was given something. */
static int carry(corex_client *client, int wire) {
    static uint8_t room[65535];
    size_t len;
    int to, is_answered = 0;
    while ((to = corex_client_next_output(client, room, sizeof room, &len)) > 0) {
        if (to == COREX_CLIENT_TO_SERVER) {
            send(wire, room, len, 0);
        } else {
            fwrite(room, 1, len, stdout);
            is_answered = 1;
        }
    }
    return is_answered;
}

int main(int argc, char **argv) {
    char error[512], host[64];
    unsigned port;
    if (argc != 4 || sscanf(argv[1], "%63[0-9.]:%u", host, &port) != 2) {
        fprintf(stderr, "usage: options ADDRESS:PORT CHAIN [ID:]SOURCE\n");
        return 2;
    }
    corex_client_options options = {.chain = argv[2], .server = argv[1], .server_key = argv[3]};
    corex_client *client = corex_client_new(&options, error, sizeof error);
    if (client == NULL) {
        fprintf(stderr, "options: %s\n", error);
        return 1;
    }
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)}, own;
    socklen_t own_len = sizeof own;
    inet_pton(AF_INET, host, &server.sin_addr);
    int wire = socket(AF_INET, SOCK_DGRAM, 0);
    if (connect(wire, (struct sockaddr *)&server, sizeof server) != 0 ||
        getsockname(wire, (struct sockaddr *)&own, &own_len) != 0) {
        perror("options");
        return 1;
    }
    char address[INET_ADDRSTRLEN], message[1024];
    inet_ntop(AF_INET, &own.sin_addr, address, sizeof address);
    int len = snprintf(message, sizeof message,
                       "OPTIONS sip:%s SIP/2.0\r\n"
                       "Via: SIP/2.0/UDP %s:%u;rport;branch=z9hG4bK%llx\r\n"
                       "From: <sip:app@%s>;tag=1\r\nTo: <sip:%s>\r\nCall-ID: %llx@%s\r\n"
                       "CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
                       argv[1], address, ntohs(own.sin_port), (unsigned long long)now(), address, argv[1],
                       (unsigned long long)now(), address);
    corex_client_send(client, now(), (const uint8_t *)message, (size_t)len);
    uint64_t until = now() + 32000;
    int is_answered = carry(client, wire);
    while (!is_answered && now() < until) {
        int64_t due = corex_client_next_tick(client);
        int64_t left = due < 0 ? 500 : due - (int64_t)now() + 1;
        struct pollfd events = {.fd = wire, .events = POLLIN};
        static uint8_t packet[65535];
        if (poll(&events, 1, left < 0 ? 0 : left > 500 ? 500 : (int)left) > 0) {
            ssize_t got = recv(wire, packet, sizeof packet, 0);
            if (got >= 0)
                corex_client_receive(client, now(), packet, (size_t)got);
        }
        corex_client_tick(client, now());
        is_answered = carry(client, wire);
    }
    corex_client_free(client);
    close(wire);
    return is_answered ? 0 : 1;
}
