// The bridge from native threads to the JavaScript thread of one environment (the main thread or
// a worker): posted functions run there in order, and tasks run on threads of ours and settle a
// promise.
//
// At the environment's end (also worker.terminate()) the closers run first, newest first, then
// every task is waited for; nothing is posted after that.
#pragma once

#include <napi.h>

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/status.h"

namespace blockferry::node {

class Loop {
 public:
  using Job = std::function<void(Napi::Env)>;

  static void install(Napi::Env env);
  static std::shared_ptr<Loop> of(Napi::Env env);

  // From any thread.
  void post(Job job);

  // On the JavaScript thread: keeps the process alive until release().
  void hold();
  void release();
  // Stops and joins an object's threads at the environment's end.
  int add_closer(std::function<void()> closer);
  void remove_closer(int id);
  // The classes of this environment, for objects that are made in native code: construct() calls
  // the constructor with one External.
  void keep_constructor(const char* name, Napi::Function constructor);
  Napi::Object construct(const char* name, Napi::Value data);
  // Runs `work` on a thread of its own, then settles the promise: with what `done` makes, or
  // with the error that the status tells. Code::no_memory when no thread is to be had.
  Napi::Promise run(std::function<Status()> work,
                    std::function<Napi::Value(Napi::Env)> done = nullptr);
  // For what has to be done: without a thread to be had, here and now.
  Napi::Promise finish(std::function<void()> work);

 private:
  struct Task;
  Status start(Task* task);
  explicit Loop(Napi::Env env) : env_(env) {}
  static void call(napi_env env, napi_value, void* context, void* data);
  void shut_down();

  Napi::Env env_;
  napi_threadsafe_function function_ = nullptr;
  int holds_ = 0;
  int next_closer_ = 0;
  std::map<int, std::function<void()>> closers_;
  std::map<std::string, Napi::FunctionReference> constructors_;
  std::mutex mutex_;  // tasks_
  std::map<Task*, std::thread> tasks_;
};

}  // namespace blockferry::node
