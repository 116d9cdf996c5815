#include "file_lock.h"

#include <fcntl.h>

namespace blockferry::node {

// False when somebody else holds it, or it can't be held.
static Napi::Value lock_file(const Napi::CallbackInfo& info) {
  struct flock range = {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  int fd = info[0].As<Napi::Number>().Int32Value();
  return Napi::Boolean::New(info.Env(), fcntl(fd, F_OFD_SETLK, &range) == 0);
}

void install_file_lock(Napi::Env env, Napi::Object exports) {
  exports.Set("lockFile", Napi::Function::New(env, lock_file));
}

}  // namespace blockferry::node
