// SPDX-License-Identifier: Apache-2.0
#include "common/program/command_line.hpp"

#include <cstdio>
#include <filesystem>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

namespace culvert {

namespace {

int refuse(const Program& program, const std::string& text) {
  std::fprintf(stderr, "%s: %s\n", program.name.c_str(), text.c_str());
  return static_cast<int>(ExitStatus::usage);
}

/// The TOML of the options that replace a file.
Result<std::string> trial_text(const Trial& trial, const Trial::Values& values) {
  std::string missing;
  for (const Trial::Option& option : trial.options) {
    if (option.count == Trial::Count::once && !values.contains(option.name)) missing += " " + option.name;
  }
  if (!missing.empty())
    return fail("trial.incomplete",
                fmt::format("without a configuration file, these options are needed too:{}", missing));
  return trial.toml(values);
}

int values_max(const Trial::Option& option) {
  return option.count == Trial::Count::many ? CLI::detail::expected_max_vector_size : 1;
}

/// The commands that only this program has.
void add_own_commands(CLI::App& app, const Program& program, CommandLine& line) {
  for (const Program::Tool& tool : program.tools) {
    CLI::App* command = app.add_subcommand(tool.name, tool.description);
    for (const Trial::Option& option : tool.options) {
      CLI::Option* added = option.value.empty()
                               ? command->add_flag(option.name, option.help)
                               : command->add_option(option.name, line.tool_options[option.name], option.help)
                                     ->type_name(option.value)
                                     ->expected(1, values_max(option))
                                     ->allow_extra_args(!option.name.starts_with('-'));
      if (option.count == Trial::Count::once) added->required();
    }
  }
  for (const Program::Remote& remote : program.remotes)
    app.add_subcommand(remote.name, remote.description)->prefix_command()->fallthrough(false)->footer(remote.usage);
}

void take_own_commands(const CLI::App& app, const Program& program, CommandLine& line) {
  for (const Program::Tool& tool : program.tools) {
    if (!app.got_subcommand(tool.name)) continue;
    line.tool = &tool;
    for (const Trial::Option& option : tool.options) {
      if (option.value.empty() && app.get_subcommand(tool.name)->count(option.name) > 0)
        line.tool_options[option.name] = {"true"};
    }
  }
  std::erase_if(line.tool_options, [](const auto& option) { return option.second.empty(); });
  for (const Program::Remote& remote : program.remotes) {
    if (!app.got_subcommand(remote.name)) continue;
    line.command = remote.name;
    for (const std::string& argument : app.get_subcommand(remote.name)->remaining()) line.command += " " + argument;
  }
}

}  // namespace

CommandLine read_command_line(const Program& program, int argc, char** argv) {
  CLI::App app{program.description, program.name};
  std::filesystem::path file = program.default_config;
  CommandLine line{.source = ConfigSource(file)};
  bool json = false;
  std::string level;
  Trial::Values values;
  auto* config =
      app.add_option("-c,--config", file, "The configuration file")->type_name("FILE")->capture_default_str();
  app.add_flag("--check", line.check_only, "Check the configuration and all files that it names, and exit");
  app.set_version_flag("--version", program.name + " " CULVERT_VERSION);
  for (const Trial::Option& option : program.trial.options) {
    app.add_option(option.name, values[option.name], option.help)
        ->type_name(option.value)
        ->group("Instead of a file, for a quick test")
        ->expected(1, values_max(option))
        ->allow_extra_args(false);
  }
  app.require_subcommand(0, 1);
  app.fallthrough();
  CLI::App* status = app.add_subcommand("status", "Show the running program's status");
  status->add_flag("--json", json, "Print JSON");
  CLI::App* targets =
      app.add_subcommand("targets", "Make the running program dial each of its targets, and report which answer");
  targets->add_flag("--json", json, "Print JSON");
  CLI::App* reload = app.add_subcommand("reload", "Make the running program read its configuration again");
  CLI::App* log_level = app.add_subcommand("log-level", "Show or change the running program's log level");
  log_level->add_option("level", level, "The new level; without one, the level is shown")
      ->type_name("")
      ->check(CLI::IsMember({"error", "warn", "info", "debug"}));
  add_own_commands(app, program, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    line.status = app.exit(error) == 0 ? 0 : static_cast<int>(ExitStatus::usage);
    return line;
  }

  take_own_commands(app, program, line);
  if (status->parsed()) line.command = json ? "status --json" : "status";
  if (targets->parsed()) line.command = json ? "targets --json" : "targets";
  if (reload->parsed()) line.command = "reload";
  if (log_level->parsed()) line.command = "log-level " + level;
  line.source.file = file;
  std::erase_if(values, [](const auto& option) { return option.second.empty(); });
  if (values.empty()) return line;
  if (config->count() > 0) {
    line.status = refuse(program, values.begin()->first + " replaces --config; give one of the two");
    return line;
  }
  auto text = trial_text(program.trial, values);
  if (text) {
    line.source = ConfigSource::of_command_line(std::move(*text));
  } else {
    line.status = refuse(program, text.error().text);
  }
  return line;
}

}  // namespace culvert
