#include "loop.h"

#include "base/start_thread.h"
#include "errors.h"

namespace blockferry::node {

struct Loop::Task {
  explicit Task(Napi::Env env) : deferred(env) {}
  Napi::Promise::Deferred deferred;
  std::function<Status()> work;
  std::function<Napi::Value(Napi::Env)> done;
  Status status;
};

// The thread-safe function comes before the clean-up hook: hooks run newest first, so it still
// exists while ours stops the threads.
void Loop::install(Napi::Env env) {
  auto* loop = new std::shared_ptr<Loop>(new Loop(env));
  napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "blockferry"), 0, 1,
                                  nullptr, nullptr, nullptr, call, &(*loop)->function_);
  napi_unref_threadsafe_function(env, (*loop)->function_);
  env.SetInstanceData<std::shared_ptr<Loop>>(loop);
  env.AddCleanupHook([keep = *loop] { keep->shut_down(); });
}

std::shared_ptr<Loop> Loop::of(Napi::Env env) {
  return *env.GetInstanceData<std::shared_ptr<Loop>>();
}

void Loop::post(Job job) {
  Job* data = nullptr;
  insist([&] { data = new Job(std::move(job)); });
  if (napi_call_threadsafe_function(function_, data, napi_tsfn_blocking) != napi_ok) delete data;
}

// A worker that is terminated in the midst of this can't make objects any more, nor take errors.
static void report(Napi::Env env, const Napi::Error& error) {
  try {
    napi_fatal_exception(env, error.Value());
  } catch (const Napi::Error&) {
  }
}

void Loop::call(napi_env raw, napi_value, void*, void* data) {
  std::unique_ptr<Job> job(static_cast<Job*>(data));
  if (raw == nullptr) return;  // the environment is ending
  Napi::Env env(raw);
  Napi::HandleScope scope(env);
  try {
    (*job)(env);
  } catch (const Napi::Error& error) {
    report(env, error);
  } catch (const std::bad_alloc&) {
    insist(
        [&] { report(env, make_error(env, Status::failure(Code::no_memory, "out of memory"))); });
  }
}

void Loop::hold() {
  if (holds_++ == 0) napi_ref_threadsafe_function(env_, function_);
}

void Loop::release() {
  if (--holds_ == 0) napi_unref_threadsafe_function(env_, function_);
}

int Loop::add_closer(std::function<void()> closer) {
  closers_[++next_closer_] = std::move(closer);
  return next_closer_;
}

void Loop::remove_closer(int id) { closers_.erase(id); }

// The references go with the environment, which may be gone when the Loop is.
void Loop::keep_constructor(const char* name, Napi::Function constructor) {
  auto& kept = constructors_[name];
  kept = Napi::Persistent(constructor);
  kept.SuppressDestruct();
}

Napi::Object Loop::construct(const char* name, Napi::Value data) {
  return constructors_.at(name).New({data});
}

Napi::Promise Loop::run(std::function<Status()> work, std::function<Napi::Value(Napi::Env)> done) {
  auto task = std::make_unique<Task>(env_);
  task->work = std::move(work);
  task->done = std::move(done);
  Napi::Promise promise = task->deferred.Promise();
  Status status = start(task.get());
  if (status.ok()) {
    task.release();
  } else {
    task->deferred.Reject(make_error(env_, status).Value());
  }
  return promise;
}

Napi::Promise Loop::finish(std::function<void()> work) {
  auto task = std::make_unique<Task>(env_);
  task->work = [work = std::move(work)] {
    work();
    return Status{};
  };
  Napi::Promise promise = task->deferred.Promise();
  if (start(task.get()).ok()) {
    task.release();
  } else {
    (void)contain(task->work);
    task->deferred.Resolve(env_.Undefined());
  }
  return promise;
}

// The task is its thread's when this succeeds.
Status Loop::start(Task* task) {
  std::lock_guard lock(mutex_);
  std::thread* thread = nullptr;
  Status status = contain([&] {
    thread = &tasks_[task];
    return Status{};
  });
  if (!status.ok()) return status;
  status = start_thread(thread, [this, task] {
    task->status = contain(task->work);
    post([this, task](Napi::Env env) {
      std::thread thread;
      {
        std::lock_guard lock(mutex_);
        thread = std::move(tasks_.extract(task).mapped());
      }
      thread.join();
      std::unique_ptr<Task> owner(task);
      release();
      if (!task->status.ok()) {
        task->deferred.Reject(make_error(env, task->status).Value());
      } else {
        task->deferred.Resolve(task->done ? task->done(env) : env.Undefined());
      }
    });
  });
  if (status.ok()) {
    hold();
  } else {
    tasks_.erase(task);
  }
  return status;
}

void Loop::shut_down() {
  while (!closers_.empty()) {
    auto newest = std::prev(closers_.end());
    auto closer = std::move(newest->second);
    closers_.erase(newest);
    closer();
  }
  std::map<Task*, std::thread> tasks;
  {
    std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
  }
  for (auto& [task, thread] : tasks) thread.join();
}

}  // namespace blockferry::node
