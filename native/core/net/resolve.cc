#include "net/resolve.h"

#include <algorithm>

namespace blockferry {

namespace {

using Clock = std::chrono::steady_clock;

#ifdef __GLIBC__

// What the resolver reads, and writes to, for as long as it takes.
struct Question {
  Question(const std::string& the_host, uint16_t the_port, const addrinfo& the_hints)
      : host(the_host), port(std::to_string(the_port)), hints(the_hints) {
    asked.ar_name = host.c_str();
    asked.ar_service = port.c_str();
    asked.ar_request = &hints;
  }
  std::string host, port;
  addrinfo hints;
  gaicb asked = {};
};

// Whether there is an answer. One that may still be worked on stays where it is, for good.
bool answered(std::unique_ptr<Question>& question, Clock::time_point deadline) {
  const gaicb* asked[] = {&question->asked};
  while (gai_error(&question->asked) == EAI_INPROGRESS) {
    auto left = std::chrono::nanoseconds(deadline - Clock::now()).count();
    if (left <= 0) break;
    timespec wait{static_cast<time_t>(left / 1'000'000'000),
                  static_cast<long>(left % 1'000'000'000)};
    gai_suspend(asked, 1, &wait);
  }
  if (gai_error(&question->asked) != EAI_INPROGRESS) return true;
  int cancelled = gai_cancel(&question->asked);
  if (cancelled == EAI_NOTCANCELED) (void)question.release();
  return cancelled == EAI_ALLDONE;
}

// 0, or EAI_…; EAI_INPROGRESS: not in time; EAI_MEMORY: nor a thread to be had.
int ask(const std::string& host, uint16_t port, const addrinfo& hints, Clock::time_point deadline,
        addrinfo** list) {
  auto question = std::make_unique<Question>(host, port, hints);
  gaicb* asked[] = {&question->asked};
  if (getaddrinfo_a(GAI_NOWAIT, asked, 1, nullptr) != 0) return EAI_MEMORY;
  if (!answered(question, deadline)) return EAI_INPROGRESS;
  int error = gai_error(&question->asked);
  if (error == 0) *list = question->asked.ar_result;
  return error;
}

#else

constexpr int EAI_INPROGRESS = -100;

// This C library can't be asked with a limit.
int ask(const std::string& host, uint16_t port, const addrinfo& hints, Clock::time_point,
        addrinfo** list) {
  return getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, list);
}

#endif

// The errno behind EAI_SYSTEM is that of the resolver's own thread.
Status failure_of(int error, const std::string& host) {
  std::string operation = "find the address of " + host;
  if (error == EAI_INPROGRESS)
    return Status::failure(Code::timeout, operation + ": no answer in time");
  bool scarce = error == EAI_MEMORY;
  return Status::failure(scarce ? Code::no_memory : Code::not_found,
                         operation + ": " + gai_strerror(error));
}

}  // namespace

Status resolve(const std::string& host, uint16_t port, int flags, Clock::time_point deadline,
               Addresses* addresses) {
  // A numeric one needs no thread of the resolver's.
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo numeric = hints;
  numeric.ai_flags |= AI_NUMERICHOST;
  addrinfo* list = nullptr;
  int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &numeric, &list);
  if (error == EAI_NONAME) error = ask(host, port, hints, deadline, &list);
  if (error != 0) return failure_of(error, host);
  addresses->reset(list);
  return {};
}

}  // namespace blockferry
