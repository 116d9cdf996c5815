// Every code that an error can have: what it means, and what to do. Codes are stable; words may change.
// docs/errors.md is made of this (`npm run docs`), and so is what the command line advises.

interface ErrorWords {
  /** A sentence: what has happened. */
  means: string
  /** A sentence: what to do about it. */
  advice: string
}

/** Those of the native core (native/core/base/status.h), then the library's own. */
export const kErrors = {
  INVALID: {
    means: 'An option or an argument makes no sense; the message names it.',
    advice: 'Mend what the message names.'
  },
  NOT_FOUND: {
    means: 'There is no such file, device, disk, export or migration.',
    advice: 'Check the name, and whether both sides call the disk the same.'
  },
  IS_DIRECTORY: { means: 'A folder stands where a disk is meant.', advice: 'Name the disk itself.' },
  BAD_SIZE: {
    means: 'A size is no positive multiple of 512 bytes, or can no longer be changed.',
    advice: 'Give the size of the disk, or storage of exactly that size.'
  },
  TOO_SMALL: {
    means: 'The storage has no room for the disk.',
    advice: 'Give storage that is at least as large as the disk.'
  },
  READ_ONLY: {
    means: 'What has to be written can only be read.',
    advice: 'Make it writable, or name other storage.'
  },
  NO_PERMISSION: {
    means: 'This user may not do that.',
    advice: 'Run it as a user who may; taps in the kernel and changes of the network take root.'
  },
  BUSY: {
    means: 'Somebody else has it locked, open for writing, or in a migration.',
    advice: 'End the other use. `force` takes a disk all the same, where that is known to be right.'
  },
  NO_SPACE: { means: 'The storage is full.', advice: 'Make room, and start again: what arrived is kept.' },
  IO_ERROR: {
    means: 'Storage or system failed; the message says at what, errno how.',
    advice: 'Look at the kernel\'s log; do not rely on that storage before the cause is known.'
  },
  SHORT_READ: {
    means: 'The disk ended before its size: it was cut short meanwhile.',
    advice: 'Find out who has truncated it.'
  },
  ADDRESS_IN_USE: {
    means: 'Another program listens at that address.',
    advice: 'Take another port, or end the other program.'
  },
  UNREACHABLE: {
    means: 'Nobody answers at that address.',
    advice: 'Check that the other side listens there, and that no firewall is between.'
  },
  TIMEOUT: {
    means: 'It took longer than it may.',
    advice: 'Look at the other side and its storage; `linkTimeout` allows slower links.'
  },
  PEER_GONE: {
    means: 'The connection, or the other side, ended before its work was done.',
    advice: 'Look at what the other side says. Started again, only what differs is sent.'
  },
  PROTOCOL: {
    means: 'The other side said what it may not.',
    advice: 'Check that it is blockferry that listens there, of the same version.'
  },
  VERSION: { means: 'The other side speaks another version of the protocol.', advice: 'Install the same version on both.' },
  CHECKSUM: {
    means: 'What arrived is not what was sent: the link damages data.',
    advice: 'Use TLS, or find the device that does; started again, only what differs is sent.'
  },
  REFUSED: {
    means: 'The other side, or the journal, does not allow it; the message says why.',
    advice: 'Do what the message says; `blockferry recover` tells who owns a disk.'
  },
  NOT_EQUAL: {
    means: 'The two disks differ, and sending again did not mend it, or a held disk was written.',
    advice: 'Find out who else writes one of them; then start again.'
  },
  NO_MEMORY: {
    means: 'There is not enough memory, or not enough descriptors or threads.',
    advice: 'Raise the limits of the process, or give it fewer disks or streams.'
  },
  UNSUPPORTED: {
    means: 'This build, kernel, file system or device can\'t do it.',
    advice: '`blockferry probe` tells what a disk can have here.'
  },
  CLOSED: { means: 'What was asked was closed already.', advice: 'Open it anew.' },
  TLS: { means: 'One side speaks TLS, the other does not.', advice: 'Give both sides keys, or neither.' },
  UNAUTHORIZED: {
    means: 'The other side is not who it has to be, or says so of this one.',
    advice: 'Check the keys; of certificates the CA, the dates and the names.'
  },
  UNACCOUNTED: {
    means: 'A disk may have been written past its tap: what changed is not known.',
    advice: 'Find out who else writes it; started again, all of it is compared.'
  },
  TABLE_CHANGED: {
    means: 'Another tool has put its own table into a device that a \'dm\' tap is in. The disk works on.',
    advice: 'Let the tool finish, and start again.'
  },
  INTERNAL: {
    means: 'A mistake of blockferry\'s own.',
    advice: 'Report it, with the message and what went before.'
  },
  DEADLINE: {
    means: 'The deadline passed before the downtime budget could be met.',
    advice: 'Relax the budget that the forecast names, or let the writers be throttled.'
  },
  JOURNAL: {
    means: 'The journal is damaged in its middle, or none of ours.',
    advice: 'Do not go on by it: find out by hand which side wrote last.'
  },
  CANCELLED: {
    means: 'The user ended it.',
    advice: 'What was copied is kept, unless it was to be deleted: started again, only what differs is sent.'
  },
  MACHINE: {
    means: 'The machine or its hypervisor failed at what it was asked; the message says what.',
    advice: 'Look at the hypervisor\'s log.'
  },
  NETWORK: {
    means: 'Setting up, switching or taking down the redirection of a machine\'s address failed.',
    advice: 'Do what the message says; `blockferry redirect` shows and takes away what was set up.'
  },
  OWNER_UNKNOWN: {
    means: 'The link broke while the destination was deciding: it may own the disk, or not.',
    advice: 'Start neither side before the destination has been asked: `blockferry recover`.'
  }
} as const satisfies Record<string, ErrorWords>

export type ErrorCode = keyof typeof kErrors

export function isErrorCode (code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(kErrors, code)
}
