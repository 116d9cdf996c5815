#include "base/status.h"

namespace blockferry {

const char* code_name(Code code) {
  switch (code) {
    case Code::ok: return "OK";
    case Code::invalid: return "INVALID";
    case Code::not_found: return "NOT_FOUND";
    case Code::is_directory: return "IS_DIRECTORY";
    case Code::bad_size: return "BAD_SIZE";
    case Code::too_small: return "TOO_SMALL";
    case Code::read_only: return "READ_ONLY";
    case Code::no_permission: return "NO_PERMISSION";
    case Code::busy: return "BUSY";
    case Code::no_space: return "NO_SPACE";
    case Code::io_error: return "IO_ERROR";
    case Code::short_read: return "SHORT_READ";
    case Code::address_in_use: return "ADDRESS_IN_USE";
    case Code::unreachable: return "UNREACHABLE";
    case Code::timeout: return "TIMEOUT";
    case Code::peer_gone: return "PEER_GONE";
    case Code::protocol: return "PROTOCOL";
    case Code::version: return "VERSION";
    case Code::checksum: return "CHECKSUM";
    case Code::refused: return "REFUSED";
    case Code::not_equal: return "NOT_EQUAL";
    case Code::no_memory: return "NO_MEMORY";
    case Code::unsupported: return "UNSUPPORTED";
    case Code::closed: return "CLOSED";
    case Code::tls: return "TLS";
    case Code::unauthorized: return "UNAUTHORIZED";
    case Code::unaccounted: return "UNACCOUNTED";
    case Code::table_changed: return "TABLE_CHANGED";
    case Code::internal: return "INTERNAL";
  }
  return "INTERNAL";
}

static Code code_of(int error) {
  switch (error) {
    case 0: return Code::ok;
    case ENOENT:
    case ENODEV:
    case ENXIO:
    case ENOTDIR: return Code::not_found;
    case EISDIR: return Code::is_directory;
    case EROFS: return Code::read_only;
    case EACCES:
    case EPERM: return Code::no_permission;
    case EBUSY:
    case ETXTBSY:
    case EWOULDBLOCK: return Code::busy;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return Code::no_space;
    case EADDRINUSE: return Code::address_in_use;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EADDRNOTAVAIL: return Code::unreachable;
    case ETIMEDOUT: return Code::timeout;
    case ECONNRESET:
    case EPIPE:
    case ECONNABORTED:
    case ENOTCONN: return Code::peer_gone;
    case ENOMEM:
    case EMFILE:
    case ENFILE: return Code::no_memory;
    case EINVAL:
    case ENAMETOOLONG: return Code::invalid;
    case EOPNOTSUPP:
    case ENOSYS: return Code::unsupported;
    default: return Code::io_error;
  }
}

Status Status::from_errno(int error, std::string operation) {
  return {code_of(error), error, std::move(operation)};
}

}  // namespace blockferry
