/* An IFD handler (the driver interface of pcscd) for simulated readers. Each reader is a UNIX socket; the card simulator listens on it
   exactly while a card is inserted, so insertion and removal are visible within milliseconds and no TCP port is involved.

   reader.conf:  DEVICENAME unix:/path/slotN.sock    LIBPATH .../libifdsim.so   (one library serves up to 16 readers)
   Wire format:  ../README.md.   Build: gcc -O2 -Wall -Wextra -shared -fPIC -I/usr/include/PCSC -o libifdsim.so ifdsim.c -lpthread */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include <wintypes.h>
#include <ifdhandler.h>
#include <reader.h>

#define READERS 16
#define ABSENT_POLL_MS 10   /* how often an empty reader looks for a card */
#define ANSWER_SECONDS 30   /* a card that says nothing for so long counts as gone */
#define UNUSED __attribute__((unused))

enum { POWER_OFF = 0, POWER_ON = 1, RESET = 2, GET_ATR = 4 };

struct reader {
  int used;
  int fd;               /* connection to the card; -1: no card. Owned by whoever holds the lock. */
  int wake[2];          /* pipe: pcscd wants its polling thread back */
  char path[108];
  pthread_mutex_t lock;
};
static struct reader readers[READERS];

static struct reader *reader_of(DWORD lun) {
  unsigned i = lun >> 16;
  return i < READERS && readers[i].used ? &readers[i] : NULL;
}

static void drop(struct reader *r) {
  if (r->fd >= 0) close(r->fd);
  r->fd = -1;
}

/* 1 when a card is there: keeps a live connection, notices a dead one, tries a new one. */
static int connected(struct reader *r) {
  if (r->fd >= 0) {
    struct pollfd p = { r->fd, POLLRDHUP, 0 };
    if (poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR))) drop(r);
  }
  if (r->fd < 0) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval timeout = { ANSWER_SECONDS, 0 };
    strcpy(address.sun_path, r->path);
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s < 0) return 0;
    if (connect(s, (void *)&address, sizeof address) < 0) { close(s); return 0; }
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    r->fd = s;
  }
  return 1;
}

static int receive(int fd, void *buffer, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t n = recv(fd, (char *)buffer + done, length - done, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return 0;
    done += n;
  }
  return 1;
}

/* Sends one frame and, if asked, reads the answer. Returns its length, or -1: the card is gone. */
static long exchange(struct reader *r, const unsigned char *frame, size_t length, unsigned char *answer, size_t capacity, int wants_answer) {
  unsigned char out[65538], header[2];
  if (length > 65535 || !connected(r)) return -1;
  out[0] = length >> 8;
  out[1] = length;
  memcpy(out + 2, frame, length);
  if (send(r->fd, out, length + 2, MSG_NOSIGNAL) != (ssize_t)(length + 2)) { drop(r); return -1; }
  if (!wants_answer) return 0;
  if (!receive(r->fd, header, 2)) { drop(r); return -1; }
  size_t n = header[0] << 8 | header[1];
  if (n > capacity || !receive(r->fd, answer, n)) { drop(r); return -1; }
  return (long)n;
}

static long get_atr(struct reader *r, unsigned char *atr, size_t capacity) {
  unsigned char command = GET_ATR;
  return exchange(r, &command, 1, atr, capacity, 1);
}

RESPONSECODE IFDHCreateChannelByName(DWORD lun, LPSTR device) {
  unsigned i = lun >> 16;
  const char *path = strchr(device, ':');
  if (i >= READERS || !path || strlen(path + 1) >= sizeof readers[i].path) return IFD_COMMUNICATION_ERROR;
  struct reader *r = &readers[i];
  if (pipe2(r->wake, O_CLOEXEC | O_NONBLOCK)) return IFD_COMMUNICATION_ERROR;
  strcpy(r->path, path + 1);
  pthread_mutex_init(&r->lock, NULL);
  r->fd = -1;
  r->used = 1;
  return IFD_SUCCESS;
}

RESPONSECODE IFDHCreateChannel(DWORD lun UNUSED, DWORD channel UNUSED) { return IFD_NOT_SUPPORTED; }

RESPONSECODE IFDHCloseChannel(DWORD lun) {
  struct reader *r = reader_of(lun);
  if (!r) return IFD_SUCCESS;
  pthread_mutex_lock(&r->lock);
  drop(r);
  r->used = 0;
  pthread_mutex_unlock(&r->lock);
  return IFD_SUCCESS;
}

/* Blocks until the presence changes, pcscd wakes us, or the time is over. TAG_IFD_STOP_POLLING_THREAD is a one-shot nudge (sent at every
   SCardDisconnect), not "stop for good": treating it as permanent makes pcscd spin. */
static RESPONSECODE wait_for_event(DWORD lun, int timeout) {
  struct reader *r = reader_of(lun);
  char drain[64];
  if (!r) return IFD_COMMUNICATION_ERROR;
  pthread_mutex_lock(&r->lock);
  int fd = r->fd;
  pthread_mutex_unlock(&r->lock);
  struct pollfd p[2] = { { r->wake[0], POLLIN, 0 }, { fd, POLLRDHUP, 0 } };
  for (int waited = 0; waited < timeout; waited += fd >= 0 ? timeout : ABSENT_POLL_MS) {
    if (poll(p, fd >= 0 ? 2 : 1, fd >= 0 ? timeout : ABSENT_POLL_MS) > 0) {
      if (p[0].revents && read(r->wake[0], drain, sizeof drain) < 0 && errno != EAGAIN) return IFD_COMMUNICATION_ERROR;
      return IFD_SUCCESS;
    }
    if (fd >= 0) continue;
    pthread_mutex_lock(&r->lock);
    int arrived = connected(r);
    pthread_mutex_unlock(&r->lock);
    if (arrived) return IFD_SUCCESS;
  }
  return IFD_SUCCESS;
}

static RESPONSECODE wake(DWORD lun) {
  struct reader *r = reader_of(lun);
  if (r && write(r->wake[1], "x", 1) < 0 && errno != EAGAIN) return IFD_COMMUNICATION_ERROR;
  return IFD_SUCCESS;
}

RESPONSECODE IFDHGetCapabilities(DWORD lun, DWORD tag, PDWORD length, PUCHAR value) {
  struct reader *r = reader_of(lun);
  switch (tag) {
    case TAG_IFD_ATR:
    case SCARD_ATTR_ATR_STRING: {
      if (!r) return IFD_COMMUNICATION_ERROR;
      pthread_mutex_lock(&r->lock);
      long n = get_atr(r, value, *length);
      pthread_mutex_unlock(&r->lock);
      if (n <= 0) return IFD_COMMUNICATION_ERROR;
      *length = n;
      return IFD_SUCCESS;
    }
    case TAG_IFD_SIMULTANEOUS_ACCESS: *value = READERS; *length = 1; return IFD_SUCCESS;
    case TAG_IFD_THREAD_SAFE:
    case TAG_IFD_SLOT_THREAD_SAFE:
    case TAG_IFD_SLOTS_NUMBER: *value = 1; *length = 1; return IFD_SUCCESS;
    case TAG_IFD_POLLING_THREAD_KILLABLE: return IFD_NOT_SUPPORTED;
    case TAG_IFD_POLLING_THREAD_WITH_TIMEOUT: { void *f = (void *)wait_for_event; memcpy(value, &f, sizeof f); *length = sizeof f; return IFD_SUCCESS; }
    case TAG_IFD_STOP_POLLING_THREAD: { void *f = (void *)wake; memcpy(value, &f, sizeof f); *length = sizeof f; return IFD_SUCCESS; }
  }
  return IFD_ERROR_TAG;
}

RESPONSECODE IFDHSetCapabilities(DWORD lun UNUSED, DWORD tag UNUSED, DWORD length UNUSED, PUCHAR value UNUSED) { return IFD_NOT_SUPPORTED; }

RESPONSECODE IFDHSetProtocolParameters(DWORD lun UNUSED, DWORD protocol UNUSED, UCHAR flags UNUSED, UCHAR pts1 UNUSED, UCHAR pts2 UNUSED, UCHAR pts3 UNUSED) {
  return IFD_SUCCESS;
}

RESPONSECODE IFDHPowerICC(DWORD lun, DWORD action, PUCHAR atr, PDWORD length) {
  struct reader *r = reader_of(lun);
  if (!r) return IFD_COMMUNICATION_ERROR;
  unsigned char command = action == IFD_POWER_DOWN ? POWER_OFF : action == IFD_POWER_UP ? POWER_ON : RESET;
  pthread_mutex_lock(&r->lock);
  long n = exchange(r, &command, 1, NULL, 0, 0);
  if (n >= 0 && action != IFD_POWER_DOWN) n = get_atr(r, atr, MAX_ATR_SIZE);
  pthread_mutex_unlock(&r->lock);
  *length = n > 0 && action != IFD_POWER_DOWN ? n : 0;
  return n >= 0 || action == IFD_POWER_DOWN ? IFD_SUCCESS : IFD_ERROR_POWER_ACTION;
}

RESPONSECODE IFDHTransmitToICC(DWORD lun, SCARD_IO_HEADER send_header, PUCHAR command, DWORD length, PUCHAR answer, PDWORD answer_length, PSCARD_IO_HEADER receive_header) {
  struct reader *r = reader_of(lun);
  if (!r) return IFD_COMMUNICATION_ERROR;
  pthread_mutex_lock(&r->lock);
  /* A command APDU has at least 4 bytes; shorter frames are the reader's own. */
  long n = length < 4 ? -1 : exchange(r, command, length, answer, *answer_length, 1);
  int gone = r->fd < 0;
  pthread_mutex_unlock(&r->lock);
  *answer_length = n < 0 ? 0 : n;
  if (n < 0) return gone ? IFD_ICC_NOT_PRESENT : IFD_COMMUNICATION_ERROR;
  receive_header->Protocol = send_header.Protocol;
  return IFD_SUCCESS;
}

RESPONSECODE IFDHControl(DWORD lun UNUSED, DWORD code UNUSED, PUCHAR in UNUSED, DWORD in_length UNUSED, PUCHAR out UNUSED, DWORD out_length UNUSED, LPDWORD returned) {
  *returned = 0;
  return IFD_ERROR_NOT_SUPPORTED;
}

RESPONSECODE IFDHICCPresence(DWORD lun) {
  struct reader *r = reader_of(lun);
  if (!r) return IFD_COMMUNICATION_ERROR;
  pthread_mutex_lock(&r->lock);
  int present = connected(r);
  pthread_mutex_unlock(&r->lock);
  return present ? IFD_ICC_PRESENT : IFD_ICC_NOT_PRESENT;
}
