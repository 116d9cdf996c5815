// The addon: what lib/native/addon.ts loads.
#include <napi.h>

#include "node/bandwidth_wrap.h"
#include "node/dm_left.h"
#include "node/file_lock.h"
#include "node/listener_wrap.h"
#include "node/loop.h"
#include "node/nbd_server_wrap.h"
#include "node/pinned_taps.h"
#include "node/sender_wrap.h"
#include "node/session_wrap.h"
#include "node/tap_wrap.h"
#include "node/tls_wrap.h"
#include "node/tunnel_wrap.h"

static Napi::Object install(Napi::Env env, Napi::Object exports) {
  using namespace blockferry::node;
  Loop::install(env);
  TapWrap::install(env, exports);
  NbdServerWrap::install(env, exports);
  BandwidthWrap::install(env, exports);
  SenderWrap::install(env, exports);
  ListenerWrap::install(env, exports);
  SessionWrap::install(env);
  TlsWrap::install(env, exports);
  TunnelWrap::install(env, exports);
  install_file_lock(env, exports);
  install_pinned_taps(env, exports);
  install_dm_left(env, exports);
#ifdef BLOCKFERRY_HAVE_LIBURING
  exports.Set("ioUring", Napi::Boolean::New(env, true));
#else
  exports.Set("ioUring", Napi::Boolean::New(env, false));
#endif
#ifdef BLOCKFERRY_HAVE_BPF
  exports.Set("bpf", Napi::Boolean::New(env, true));
#else
  exports.Set("bpf", Napi::Boolean::New(env, false));
#endif
#ifdef BLOCKFERRY_HAVE_DM
  exports.Set("dm", Napi::Boolean::New(env, true));
#else
  exports.Set("dm", Napi::Boolean::New(env, false));
#endif
  return exports;
}

NODE_API_MODULE(blockferry, install)
