// SPDX-License-Identifier: Apache-2.0
#include "common/program/program.hpp"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <optional>
#include <string_view>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/admin/admin_http.hpp"
#include "common/admin/control_socket.hpp"
#include "common/admin/service_notify.hpp"
#include "common/admin/stop_signal.hpp"
#include "common/config/reloader.hpp"
#include "common/config/settings_reader.hpp"
#include "common/net/socket_address.hpp"
#include "common/ports/inherited_sockets.hpp"
#include "common/program/command_line.hpp"
#include "common/program/status_text.hpp"

namespace culvert {
namespace {

namespace asio = boost::asio;

constexpr std::chrono::seconds stop_time_max{15};  ///< From the end of a drain to the end of the process.
constexpr std::chrono::seconds supervisor_interval_max{2};

int status_of(ExitStatus status) {
  return static_cast<int>(status);
}

void say(const Program& program, const std::string& text) {
  std::fprintf(stderr, "%s: %s\n", program.name.c_str(), text.c_str());
}

/// A port that another program uses may be free later; a wrong certificate needs a person.
ExitStatus exit_of(const Error& error) {
  const auto is = [&](std::string_view group) { return error.code.starts_with(group); };
  return is("listen.") || is("admin.") || is("reload.") ? ExitStatus::try_again : ExitStatus::configuration;
}

/// Named after the file, so that several agents on one machine have different sockets.
std::filesystem::path default_socket(const Program& program, const ConfigSource& source) {
  const auto& file = source.file.empty() ? program.default_config : source.file;
  return "/run/culvert" / file.stem().concat(".sock");
}

/// Each stream needs a socket, so the usual limit of 1,024 is too low.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

void answer(const Reloader::Requests& requests, const Result<void>& outcome) {
  for (const Reloader::Done& done : requests) done(outcome);
}

/// The running program. Lives on main's thread, which serves signals and reloads; the service lives at home (worker 0).
class Running {
 public:
  Running(const Program& program, ConfigSource source, const ProgramSettings& settings)
      : program_(program),
        source_(std::move(source)),
        settings_(settings),
        log_(settings.log),
        planes_(settings.limits.workers, settings.limits.memory_budget_bytes),
        notify_(ServiceNotify::from_environment()),
        inherited_(InheritedSockets::from_environment()),
        supervisor_timer_(context_),
        drain_limit_(context_) {}

  ~Running() {
    control_.reset();
    http_.reset();
    offload_.join();
    planes_.stop();
    service_.reset();
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  Result<void> start(std::unique_ptr<Plan> plan);
  void run() { context_.run(); }

 private:
  Result<void> open_metrics(const MetricsSettings& settings);
  Result<void> open_control();
  std::vector<ControlCommand> commands();
  void begin_reload(Result<std::unique_ptr<Plan>> loaded, const Reloader::Requests& requests);
  void end_reload(const Result<void>& applied, const ProgramSettings& settings, const Reloader::Requests& requests);
  void refuse_reload(const Error& error, const Reloader::Requests& requests);
  void watch_files();
  void drain();
  void stop();
  void notify_supervisor();
  /// Runs `task` with the service at home.
  template <typename Task>
  void at_home(Task task) {
    planes_.home().post([this, task = std::move(task)]() mutable { task(*service_); });
  }

  const Program& program_;
  const ConfigSource source_;
  ProgramSettings settings_;
  Log log_;
  Metrics metrics_;
  DataPlanes planes_;
  asio::io_context context_{1};
  asio::thread_pool offload_{1};
  ServiceNotify notify_;
  InheritedSockets inherited_;
  asio::steady_timer supervisor_timer_;
  asio::steady_timer drain_limit_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<AdminHttp> http_;
  std::unique_ptr<ControlSocket> control_;
  std::string socket_ = "none";  ///< Path that control_ listens on, for the log.
  std::optional<Reloader> reloader_;
  std::optional<StopSignal> signals_;
  std::atomic<bool> draining_ = false;
  bool stopping_ = false;
  std::atomic<bool> last_reload_ok_ = true;
};

Result<void> Running::start(std::unique_ptr<Plan> plan) {
  service_ = program_.make({log_, planes_, inherited_}, std::move(plan));
  metrics_.add_collector([this](MetricsPage& page) {
    planes_.collect(page);
    service_->collect(page);
    page.gauge("culvert_config_last_reload_success", "1 unless the last reload was refused.", {},
               last_reload_ok_ ? 1 : 0);
    page.counter("culvert_log_dropped_total", "Log lines lost because they were not read in time.", {}, log_.dropped());
  });
  if (auto opened = open_metrics(settings_.metrics); !opened) return opened;
  if (auto opened = open_control(); !opened) return opened;
  // Must be last: from here on there are tasks that only a running loop can end.
  if (auto started = service_->start(); !started) return started;

  signals_.emplace(context_.get_executor(), SignalActions{.drain = [this] { drain(); },
                                                          .stop_now = [this] { stop(); },
                                                          .reload = [this] { reloader_->request(); }});
  reloader_.emplace(
      context_, offload_, source_.file, [this] { return program_.load(source_); },
      [this](Result<std::unique_ptr<Plan>> loaded, const Reloader::Requests& requests) {
        begin_reload(std::move(loaded), requests);
      });
  watch_files();
  log_.info("started", {{"program", program_.name},
                        {"version", CULVERT_VERSION},
                        {"config", source_.name()},
                        {"workers", planes_.size()},
                        {"admin_socket", socket_}});
  for (const auto& local : inherited_.unclaimed()) {
    log_.warn("socket.unclaimed", {{"listen", to_text(local)},
                                   {"hint",
                                    "systemd passed this socket, but the configuration has no listener for it; add "
                                    "one, or remove the socket unit"}});
  }
  planes_.start();
  notify_.ready();
  notify_supervisor();
  return {};
}

Result<void> Running::open_metrics(const MetricsSettings& settings) {
  http_.reset();
  if (!settings.listen) return {};
  AdminPages pages;
  pages.metrics = [this](const std::function<void(std::string)>& done) { done(metrics_.scrape()); };
  pages.readiness = [this](const std::function<void(Readiness)>& done) {
    if (draining_) return done({false, "draining"});
    at_home([done](Service& service) { done(service.readiness()); });
  };
  auto opened = AdminHttp::open(*settings.listen, settings.allow_from, std::move(pages), log_);
  if (!opened) return fail(opened.error().code, "metrics.listen: " + opened.error().text);
  http_ = std::move(*opened);
  return {};
}

Result<void> Running::open_control() {
  std::filesystem::path path = settings_.admin.socket;
  if (path.empty()) {
    path = default_socket(program_, source_);
    if (::access(path.parent_path().c_str(), W_OK) != 0) return {};
  }
  auto opened = ControlSocket::open(path, commands(), log_);
  if (!opened) return std::unexpected(opened.error());
  control_ = std::move(*opened);
  socket_ = path.string();
  return {};
}

std::vector<ControlCommand> Running::commands() {
  using Done = std::function<void(ControlCommand::Answer)>;
  ControlCommand status{"status", "status [--json]: shows what runs, and its state",
                        [this](const std::string& arguments, const Done& done) {
                          if (!arguments.empty() && arguments != "--json")
                            return done(fail("admin.bad_argument", "status takes --json or nothing"));
                          at_home([done, json = !arguments.empty()](Service& service) {
                            service.status([done, json](const boost::json::object& object) {
                              done(json ? boost::json::serialize(object) + "\n" : status_text(object));
                            });
                          });
                        }};
  ControlCommand targets{"targets",
                         "targets [--json]: dials each target of the configuration and reports which targets answer",
                         [this](const std::string& arguments, const Done& done) {
                           if (!arguments.empty() && arguments != "--json")
                             return done(fail("admin.bad_argument", "targets takes --json or nothing"));
                           at_home([done, json = !arguments.empty()](Service& service) {
                             service.check_targets([done, json](const boost::json::array& outcomes) {
                               const boost::json::object object{{"targets", outcomes}};
                               done(json ? boost::json::serialize(object) + "\n" : status_text(object));
                             });
                           });
                         }};
  ControlCommand reload{"reload",
                        "reload: reads the configuration again and reports whether it is in force, or why not",
                        [this](const std::string&, const Done& done) {
                          asio::post(context_, [this, done] {
                            reloader_->request([done](const Result<void>& outcome) {
                              if (!outcome) return done(std::unexpected(outcome.error()));
                              done("reloaded\n");
                            });
                          });
                        }};
  std::vector<ControlCommand> all;
  all.push_back(std::move(status));
  all.push_back(std::move(targets));
  all.push_back(std::move(reload));
  all.push_back(log_level_command(log_));
  for (const Program::Remote& remote : program_.remotes) {
    all.push_back({remote.name, fmt::format("{} …: {}", remote.name, remote.description),
                   [this, name = remote.name](const std::string& arguments, const Done& done) {
                     at_home([=](Service& service) { service.command(name, arguments, done); });
                   }});
  }
  return all;
}

void Running::begin_reload(Result<std::unique_ptr<Plan>> loaded, const Reloader::Requests& requests) {
  if (!loaded) return refuse_reload(loaded.error(), requests);
  if (draining_) return answer(requests, fail("reload.draining", "the program is stopping: nothing was changed"));
  notify_.reloading();
  const ProgramSettings settings = (*loaded)->settings();
  // A std::function must be copyable, and a unique_ptr is not.
  auto plan = std::make_shared<std::unique_ptr<Plan>>(std::move(*loaded));
  at_home([this, plan, settings, requests](Service& service) {
    Result<void> applied = service.reload(std::move(*plan));
    // The configuration is in force once every worker has had a turn: removed ports close there.
    planes_.on_each([](DataPlane&) {},
                    [this, applied = std::move(applied), settings, requests] {
                      asio::post(context_, [=, this] { end_reload(applied, settings, requests); });
                    });
  });
}

void Running::end_reload(const Result<void>& applied, const ProgramSettings& settings,
                         const Reloader::Requests& requests) {
  notify_.ready();
  if (!applied) return refuse_reload(applied.error(), requests);
  Result<void> outcome;
  log_.set_level(settings.log.level);
  log_.set_format(settings.log.format);
  planes_.budget().resize(settings.limits.memory_budget_bytes);
  // Retries a port that was in use at the last reload.
  if (settings.metrics != settings_.metrics || (settings.metrics.listen && !http_)) {
    if (auto opened = open_metrics(settings.metrics); !opened) {
      log_.error("reload.metrics_off", {{"code", opened.error().code}, {"text", opened.error().text}});
      outcome = std::move(opened);
    }
  }
  last_reload_ok_ = outcome.has_value();
  if (settings.admin != settings_.admin || settings.limits.workers != settings_.limits.workers) {
    log_.warn("reload.restart_needed",
              {{"hint", "changes of socket in [admin] and workers in [limits] need a restart"}});
  }
  const AdminSettings admin = settings_.admin;
  const std::uint32_t workers = settings_.limits.workers;
  settings_ = settings;
  settings_.admin = admin;
  settings_.limits.workers = workers;
  watch_files();
  log_.info("reloaded", {{"config", source_.name()}});
  answer(requests, outcome);
}

void Running::refuse_reload(const Error& error, const Reloader::Requests& requests) {
  last_reload_ok_ = false;
  log_.error("reload.refused", {{"code", error.code}, {"text", error.text}, {"hint", "nothing was changed"}});
  answer(requests, std::unexpected(error));
}

void Running::watch_files() {
  if (!reloader_) return;
  if (auto watched = reloader_->watch(settings_.files); !watched) {
    log_.warn("reload.unwatched", {{"code", watched.error().code}, {"text", watched.error().text}});
  }
}

void Running::drain() {
  if (draining_.exchange(true)) return;
  const auto time_max = settings_.limits.drain_time;
  notify_.stopping(time_max + stop_time_max);
  log_.info("draining", {{"seconds_max", std::chrono::duration<double>(time_max).count()}});
  at_home([this, time_max](Service& service) {
    service.drain(std::chrono::steady_clock::now() + time_max, [this] { asio::post(context_, [this] { stop(); }); });
  });
}

void Running::stop() {
  if (std::exchange(stopping_, true)) return;
  draining_ = true;
  notify_.stopping(stop_time_max);
  at_home([this](Service& service) {
    service.stop([this] {
      asio::post(context_, [this] {
        log_.info("stopped", {{"program", program_.name}});
        context_.stop();
      });
    });
  });
}

/// Sends a keep-alive once every worker has had a turn, and a line for `systemctl status`.
void Running::notify_supervisor() {
  if (!notify_.has_supervisor()) return;
  const std::chrono::microseconds interval_max = supervisor_interval_max;
  supervisor_timer_.expires_after(std::min(notify_.watchdog_interval().value_or(interval_max), interval_max));
  supervisor_timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    planes_.on_each([](DataPlane&) {},
                    [this] {
                      notify_.watchdog();
                      service_->status([this](const boost::json::object& status) {
                        notify_.status((draining_ ? "Draining: " : "") + status_line(status));
                      });
                    });
    notify_supervisor();
  });
}

int run_service(const Program& program, const ConfigSource& source, std::unique_ptr<Plan> plan) {
  std::signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
  const ProgramSettings settings = plan->settings();
  set_keep_alive_time(std::chrono::duration_cast<std::chrono::seconds>(settings.limits.tcp_keep_alive));
  Running running(program, source, settings);
  if (auto started = running.start(std::move(plan)); !started) {
    say(program, started.error().text);
    return status_of(exit_of(started.error()));
  }
  running.run();
  return status_of(ExitStatus::stopped);
}

/// `culvert-agent status` and the like: asks the program that runs with this configuration. Reads only [admin] of the
/// file: the caller may not be allowed to read the keys, and an expired certificate is a reason to ask.
int ask_running(const Program& program, const ConfigSource& source, const std::string& command) {
  auto admin = load_admin_settings(source);
  if (!admin) {
    say(program, admin.error().text);
    return status_of(ExitStatus::configuration);
  }
  auto answer = ask_control_socket(admin->socket.empty() ? default_socket(program, source) : admin->socket, command);
  if (!answer) {
    say(program, answer.error().text);
    return status_of(answer.error().code == "admin.bad_argument" ? ExitStatus::usage : exit_of(answer.error()));
  }
  std::fputs(answer->c_str(), stdout);
  return 0;
}

}  // namespace

int run_program(const Program& program, int argc, char** argv) {
  const CommandLine line = read_command_line(program, argc, argv);
  if (line.status) return *line.status;
  if (line.tool) return line.tool->run(line.tool_options, line.source.file);
  if (!line.command.empty()) return ask_running(program, line.source, line.command);
  auto plan = program.load(line.source);
  if (!plan) {
    say(program, plan.error().text);
    return status_of(ExitStatus::configuration);
  }
  if (line.check_only) {
    std::printf("%s: ok\n", line.source.name().c_str());
    return 0;
  }
  return run_service(program, line.source, std::move(*plan));
}

}  // namespace culvert
