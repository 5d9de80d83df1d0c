// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/application_object.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <utility>

#include <fmt/core.h>

#include "common/config/settings_reader.hpp"
#include "server/kubernetes/conditions.hpp"
#include "server/kubernetes/object.hpp"
#include "server/targets/gateway_path.hpp"
#include "server/targets/target_url.hpp"

namespace culvert::server {

namespace json = boost::json;
using namespace std::chrono_literals;
using std::chrono::milliseconds;
using State = ClusterSecret::State;

namespace {

constexpr std::string_view annotation_prefix = "culvert.dev/";
constexpr int services_port = 8080;  // Of the gateway's Service, whatever the program listens at.
constexpr int entries_port = 8082;
/// The API server refuses a longer message of a condition (32 KiB) or of an Event (1 KiB).
constexpr std::size_t message_bytes_max = 1000;

std::vector<ApplicationEntry> read_entries(const json::object& service) {
  std::vector<ApplicationEntry> entries;
  const json::array* written = array_at(service, "entries");
  for (const json::value& each : written == nullptr ? json::array() : *written) {
    if (!each.is_object() || text_at(each.get_object(), "type") != "API") continue;
    const json::object& object = each.get_object();
    ApplicationEntry entry{.name = text_at(object, "name"),
                           .url = text_at(object, "targetUrl"),
                           .credentials = std::nullopt,
                           .parameters_secret = text_at(object, "requestParametersSecretName")};
    if (object.contains("credentials")) {
      const json::object& credentials = object_at(object, "credentials");
      entry.credentials = {.type = text_at(credentials, "type"),
                           .secret = text_at(credentials, "secretName"),
                           .token_url = text_at(credentials, "authenticationUrl"),
                           .csrf_url = text_at(object_at(credentials, "csrfInfo"), "tokenEndpointURL")};
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

/// "250ms", "10s", "2m", "1h".
std::optional<milliseconds> parse_time(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, std::int64_t>, 4> units{
      {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}}};
  std::int32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  for (const auto& [name, factor] : units) {
    if (text.substr(static_cast<std::size_t>(end - text.data())) == name) return milliseconds(number * factor);
  }
  return std::nullopt;
}

const std::string& name_of(const ApplicationService& service, const ApplicationEntry& entry) {
  return entry.name.empty() ? service.display_name : entry.name;
}

std::string place_of(const ApplicationService& service, const ApplicationEntry& entry) {
  if (entry.name.empty()) return fmt::format("service \"{}\"", service.display_name);
  return fmt::format("service \"{}\", entry \"{}\"", service.display_name, entry.name);
}

/// Where the client's id and secret go in a request for a token.
enum class ClientIn : std::uint8_t {
  both,  ///< As Kyma's gateway sends them, so that what works there works here.
  header,
  form,
};

/// What the annotations say about all entries.
struct Common {
  std::string account;
  std::string location;
  ClientIn client_in = ClientIn::both;
  milliseconds connect_timeout = TargetDescription().connect_timeout;
  milliseconds first_byte_timeout = TargetDescription().first_byte_timeout;
  milliseconds idle_timeout = TargetDescription().idle_timeout;
  std::string problem;  ///< Why no entry can be used; empty: they can.
};

class Planner {
 public:
  Planner(const ApplicationSpec& spec, const ClusterSecrets& secrets, const ApplicationRules& rules)
      : spec_(spec), secrets_(secrets), rules_(rules) {}

  PlannedApplication plan() {
    read_annotations();
    report().skips_verify = spec_.skip_verify && rules_.allow_skip_verify;
    if (spec_.skip_verify && !rules_.allow_skip_verify)
      note("SkipVerifyRefused",
           "spec.skipVerify is not allowed (allow_skip_verify of [gateway]), so certificates are verified");
    find_clashes();
    for (std::size_t i = 0; i < spec_.services.size(); ++i) plan_service(i);
    return std::move(planned_);
  }

 private:
  ApplicationReport& report() { return planned_.report; }
  void note(std::string reason, std::string message) {
    report().problems.push_back({std::move(reason), std::move(message)});
  }
  void read_annotations();
  void read_time(std::string_view name, std::string_view text, milliseconds min, milliseconds max, milliseconds& time);
  void check_account();
  void find_clashes();
  void plan_service(std::size_t index);
  void plan_entry(NamedTarget& named, const ApplicationService& service, const ApplicationEntry& entry);
  void check_way(const ApplicationEntry& entry);
  void read_login(LoginTexts& login, const ApplicationEntry::Credentials& credentials);
  void read_parameters(RequestParameters& parameters, const std::string& name);
  const ClusterSecret* secret(const std::string& name);
  std::string_view value(const ClusterSecret& secret, const std::string& name, std::string_view key);
  void fail(std::string_view reason, std::string text);
  void fail_secret(std::string_view reason, std::string text);
  bool is_good_url(std::string_view field, std::string_view url);

  const ApplicationSpec& spec_;
  const ClusterSecrets& secrets_;
  const ApplicationRules& rules_;
  Common common_;
  std::map<std::string, std::string> service_clashes_;  ///< By the name in a path; the message.
  std::map<std::string, std::string> entry_clashes_;    ///< By "service/entry" in a path.
  NamedTarget* now_ = nullptr;                          ///< The target that is being planned.
  std::string place_;                                   ///< Its place in the object.
  PlannedApplication planned_;
};

Secret secret_of(std::string_view text) {
  return Secret::of(text);
}

// ---- the whole object

void Planner::read_annotations() {
  for (const auto& [key, text] : spec_.annotations) {
    const std::string_view name = std::string_view(key).substr(annotation_prefix.size());
    if (name == "account") {
      common_.account = text;
    } else if (name == "location") {
      common_.location = text;
    } else if (name == "connect-timeout") {
      read_time(key, text, 100ms, 5min, common_.connect_timeout);
    } else if (name == "first-byte-timeout") {
      read_time(key, text, 100ms, 24h, common_.first_byte_timeout);
    } else if (name == "idle-timeout") {
      read_time(key, text, 1s, 24h, common_.idle_timeout);
    } else if (name == "oauth-client-in") {
      if (text != "both" && text != "header" && text != "form")
        note("BadAnnotation", fmt::format("annotation {}: write \"both\", \"header\" or \"form\"", key));
      common_.client_in = text == "header" ? ClientIn::header : text == "form" ? ClientIn::form : ClientIn::both;
    } else {
      note("BadAnnotation", fmt::format("annotation {} is not known", key));
    }
  }
  check_account();
}

void Planner::read_time(std::string_view name, std::string_view text, milliseconds min, milliseconds max,
                        milliseconds& time) {
  const auto read = parse_time(text);
  if (read && *read >= min && *read <= max)
    time = *read;
  else
    note("BadAnnotation",
         fmt::format("annotation {}: write a time such as \"10s\" or \"2m\"; the default applies", name));
}

void Planner::check_account() {
  const auto refuse = [this](std::string reason, std::string text) {
    note(std::move(reason), text);
    common_.problem = std::move(text);
  };
  const std::string& account = common_.account;
  if (account.empty()) {
    if (!common_.location.empty())
      refuse("BadAnnotation", "annotation culvert.dev/location needs culvert.dev/account, too");
    return;
  }
  if (!parse_name(account) || !parse_location(common_.location))
    return refuse("BadAnnotation", "annotations culvert.dev/account and culvert.dev/location: not valid names");
  const auto is_it_or_all = [&account](const std::string& allowed) { return allowed == account || allowed == "*"; };
  if (std::ranges::none_of(rules_.accounts, is_it_or_all))
    refuse("AccountNotAllowed",
           "annotation culvert.dev/account: the server's accounts of [on_premise_services] do not name this account");
}

void Planner::find_clashes() {
  std::map<std::string, std::vector<const ApplicationService*>> services;
  for (const ApplicationService& service : spec_.services) {
    if (service.entries.empty()) continue;
    services[normal_name(service.display_name)].push_back(&service);
    const std::string within = normal_name(service.display_name) + "/";
    std::map<std::string, std::vector<const ApplicationEntry*>> entries;
    for (const ApplicationEntry& entry : service.entries)
      entries[normal_name(name_of(service, entry))].push_back(&entry);
    for (const auto& [name, same] : entries) {
      if (same.size() < 2 || name.empty()) continue;
      std::string text = fmt::format("service \"{}\": {} entries are \"{}\" in a path; give each a name of its own",
                                     service.display_name, same.size(), name);
      note("NameClash", text);
      entry_clashes_.emplace(within + name, std::move(text));
    }
  }
  for (const auto& [name, same] : services) {
    if (same.size() < 2 || name.empty()) continue;
    std::string text = fmt::format("the services \"{}\" and \"{}\" are both \"{}\" in a path; rename one",
                                   same[0]->display_name, same[1]->display_name, name);
    note("NameClash", text);
    service_clashes_.emplace(name, std::move(text));
  }
}

// ---- an entry

void Planner::plan_service(std::size_t index) {
  const ApplicationService& service = spec_.services[index];
  const std::string path = normal_name(service.display_name);
  const auto has_id = [&service](const ApplicationService& other) { return other.id == service.id; };
  // Services with one id are still several.
  const bool is_unique = std::ranges::count_if(spec_.services, has_id) == 1;
  const std::string owner = is_unique ? service.id : fmt::format("{}#{}", service.id, index);
  for (const ApplicationEntry& entry : service.entries) {
    const std::string& name = name_of(service, entry);
    const std::string entry_path = normal_name(name);
    place_ = place_of(service, entry);
    if (path.empty() || entry_path.empty()) {
      note("BadName", fmt::format("{}: a name needs an ASCII letter or digit for its path", place_));
      continue;
    }
    NamedTarget named{.application = spec_.name,
                      .service = service.display_name,
                      .entry = name,
                      .owner = owner,
                      .description = {.name = fmt::format("{}/{}/{}", spec_.name, path, entry_path)},
                      .problem = common_.problem};
    const auto same_service = service_clashes_.find(path);
    const auto same_entry = entry_clashes_.find(fmt::format("{}/{}", path, entry_path));
    if (same_service != service_clashes_.end() || same_entry != entry_clashes_.end()) {
      named.problem = same_service != service_clashes_.end() ? same_service->second : same_entry->second;
    } else {
      plan_entry(named, service, entry);
      const bool is_only = service.entries.size() == 1;
      report().gateway.push_back(json::object{
          {"service", service.display_name},
          {"entry", name},
          {"url", is_only ? fmt::format("http://{}:{}/{}/{}", rules_.gateway_host, services_port, spec_.name, path)
                          : fmt::format("http://{}:{}/{}/{}/{}", rules_.gateway_host, entries_port, spec_.name, path,
                                        entry_path)}});
    }
    planned_.targets.push_back(std::move(named));
  }
}

void Planner::plan_entry(NamedTarget& named, const ApplicationService& service, const ApplicationEntry& entry) {
  now_ = &named;
  place_ = place_of(service, entry);
  TargetDescription& description = named.description;
  description.url = entry.url;
  description.account = common_.account;
  description.location = common_.location;
  description.skip_verify = report().skips_verify;
  description.connect_timeout = common_.connect_timeout;
  description.first_byte_timeout = common_.first_byte_timeout;
  description.idle_timeout = common_.idle_timeout;
  if (is_good_url("targetUrl", entry.url) && !common_.account.empty()) check_way(entry);
  if (entry.credentials) {
    read_login(description.login, *entry.credentials);
    description.csrf_url = entry.credentials->csrf_url;
    if (!description.csrf_url.empty()) is_good_url("credentials.csrfInfo.tokenEndpointURL", description.csrf_url);
  }
  if (!entry.parameters_secret.empty()) read_parameters(description.parameters, entry.parameters_secret);
}

/// What is possible through an agent, as in the file.
void Planner::check_way(const ApplicationEntry& entry) {
  const auto url = parse_target_url(entry.url);
  if (url && url->scheme != http::Scheme::http)
    fail("BadUrl", "targetUrl names a virtual host, which is always http://; the agent adds TLS");
  if (!entry.credentials) return;
  if (entry.credentials->type == "CertificateGen")
    fail("BadCredentials", "only the agent could show a certificate: set client_certificate there");
  if (!entry.credentials->csrf_url.empty()) fail("BadCredentials", "csrfInfo is not possible through an agent");
}

void Planner::read_login(LoginTexts& login, const ApplicationEntry::Credentials& credentials) {
  struct Kind {
    std::string_view word;
    LoginType type;
    std::vector<std::string_view> keys;
  };
  static const std::array<Kind, 4> kinds{
      {{"Basic", LoginType::basic, {"username", "password"}},
       {"OAuth", LoginType::oauth, {"clientId", "clientSecret"}},
       {"OAuthWithCert", LoginType::oauth_with_certificate, {"clientId", "crt", "key"}},
       {"CertificateGen", LoginType::certificate, {"crt", "key"}}}};
  const auto kind = std::ranges::find(kinds, credentials.type, &Kind::word);
  if (kind == kinds.end())
    return fail("BadCredentials", "credentials.type must be Basic, OAuth, OAuthWithCert or CertificateGen");
  login.type = kind->type;
  const bool is_oauth = login.type == LoginType::oauth || login.type == LoginType::oauth_with_certificate;
  login.token_url = is_oauth ? credentials.token_url : "";
  if (is_oauth) is_good_url("credentials.authenticationUrl", login.token_url);
  const std::string& name = credentials.secret;
  const ClusterSecret* secret = this->secret(name);
  if (secret == nullptr) return;
  for (const std::string_view key : kind->keys) {
    const std::string_view text = value(*secret, name, key);
    if (key == "username" || key == "clientId")
      login.user = text;
    else if (key == "password" || key == "clientSecret")
      login.secret = secret_of(text);
    else if (key == "crt")
      login.certificate = secret_of(text);
    else
      login.private_key = secret_of(text);
  }
  login.certificate_name = fmt::format("Secret {}, key crt", name);
  login.key_name = fmt::format("Secret {}, key key", name);
  // RFC 7617 2: the name ends at the first colon.
  if (login.type == LoginType::basic && login.user.contains(':'))
    fail_secret("SecretInvalid", fmt::format("username in the Secret \"{}\" has a colon", name));
  if (login.type != LoginType::oauth) return;
  login.in_form = common_.client_in == ClientIn::form;
  if (common_.client_in != ClientIn::both) return;
  login.service_user = login.user;
  login.service_password = secret_of(login.secret.reveal());
}

void Planner::read_parameters(RequestParameters& parameters, const std::string& name) {
  const ClusterSecret* secret = this->secret(name);
  if (secret == nullptr) return;
  const Secret* headers = secret->find("headers");
  const Secret* query = secret->find("queryParameters");
  if (headers == nullptr && query == nullptr)
    return fail_secret("SecretIncomplete",
                       fmt::format("the Secret \"{}\" has neither headers nor queryParameters", name));
  auto read =
      read_request_parameters(headers == nullptr ? "" : headers->reveal(), query == nullptr ? "" : query->reveal());
  if (!read) return fail_secret("SecretInvalid", fmt::format("the Secret \"{}\": {}", name, read.error().text));
  parameters = std::move(*read);
}

/// nullptr: it cannot be used, which is noted.
const ClusterSecret* Planner::secret(const std::string& name) {
  const ClusterSecret* found = secrets_.find(name);
  if (name.empty()) {
    fail("BadCredentials", "credentials.secretName is missing");
  } else if (found == nullptr || found->state == State::unread) {
    if (now_->problem.empty()) now_->problem = fmt::format("the Secret \"{}\" is not read yet", name);
  } else if (found->state == State::missing) {
    fail_secret("SecretMissing",
                fmt::format("there is no Secret \"{}\" in the namespace \"{}\"", name, rules_.name_space));
  } else if (found->state == State::refused) {
    fail_secret("SecretUnreadable", fmt::format("the Secret \"{}\": {}", name, found->refusal));
  } else {
    return found;
  }
  return nullptr;
}

/// Empty if there is none, which is noted. A password may be empty: some systems take a key as the user's name.
std::string_view Planner::value(const ClusterSecret& secret, const std::string& name, std::string_view key) {
  const Secret* found = secret.find(key);
  if (found == nullptr || (found->reveal().empty() && key != "password"))
    fail_secret("SecretIncomplete", fmt::format("the Secret \"{}\" has no key {}, or it is empty", name, key));
  return found == nullptr ? std::string_view() : found->reveal();
}

bool Planner::is_good_url(std::string_view field, std::string_view url) {
  if (url.empty()) {
    fail("BadUrl", fmt::format("{} is missing", field));
    return false;
  }
  const auto parsed = parse_target_url(url);
  if (!parsed) fail("BadUrl", fmt::format("{} {}", field, parsed.error().text));
  return parsed.has_value();
}

void Planner::fail(std::string_view reason, std::string text) {
  note(std::string(reason), fmt::format("{}: {}", place_, text));
  if (now_->problem.empty()) now_->problem = std::move(text);
}

void Planner::fail_secret(std::string_view reason, std::string text) {
  report().secret_problems.push_back({std::string(reason), fmt::format("{}: {}", place_, text)});
  if (now_->problem.empty()) now_->problem = std::move(text);
}

Condition condition_of(std::string_view type, const std::vector<ApplicationProblem>& problems) {
  Condition condition{type, problems.empty(), std::string(type), ""};
  if (problems.empty()) return condition;
  condition.reason = problems.front().reason;
  for (std::size_t i = 0; i < problems.size(); ++i) {
    if (condition.message.size() + problems[i].message.size() > message_bytes_max && i > 0) {
      condition.message += fmt::format("; and {} more", problems.size() - i);
      break;
    }
    condition.message += (i == 0 ? "" : "; ") + problems[i].message.substr(0, message_bytes_max);
  }
  return condition;
}

}  // namespace

ApplicationObject read_application(const json::object& object) {
  const json::object& metadata = object_at(object, "metadata");
  const json::object& spec = object_at(object, "spec");
  const json::value* skip_verify = spec.if_contains("skipVerify");
  ApplicationObject read{
      .uid = text_at(metadata, "uid"),
      .version = text_at(metadata, "resourceVersion"),
      .generation = number_at(metadata, "generation"),
      .spec = {.name = text_at(metadata, "name"),
               .skip_verify = skip_verify != nullptr && skip_verify->is_bool() && skip_verify->get_bool(),
               .annotations = {},
               .services = {}},
      .status = object_at(object, "status"),
      .is_going = metadata.contains("deletionTimestamp")};
  for (const auto& member : object_at(metadata, "annotations")) {
    if (member.key().starts_with(annotation_prefix) && member.value().is_string())
      read.spec.annotations.emplace(member.key(), std::string(member.value().get_string()));
  }
  const json::array* services = array_at(spec, "services");
  for (const json::value& each : services == nullptr ? json::array() : *services) {
    if (!each.is_object()) continue;
    const json::object& service = each.get_object();
    read.spec.services.push_back({text_at(service, "id"), text_at(service, "displayName"), read_entries(service)});
  }
  return read;
}

std::set<std::string> secrets_of(const ApplicationSpec& spec) {
  std::set<std::string> names;
  for (const ApplicationService& service : spec.services) {
    for (const ApplicationEntry& entry : service.entries) {
      if (entry.credentials) names.insert(entry.credentials->secret);
      names.insert(entry.parameters_secret);
    }
  }
  names.erase("");
  return names;
}

PlannedApplication plan_application(const ApplicationSpec& spec, const ClusterSecrets& secrets,
                                    const ApplicationRules& rules) {
  return Planner(spec, secrets, rules).plan();
}

json::object application_status(const ApplicationObject& object, const ApplicationReport& report,
                                std::string_view now) {
  json::object status = object.status;
  Condition accepted = condition_of("Accepted", report.problems);
  if (accepted.holds && report.skips_verify)
    accepted.message = "the certificates of its targets are not verified (skipVerify)";
  status["observedGeneration"] = object.generation;
  status["conditions"] = write_conditions({std::move(accepted), condition_of("SecretsFound", report.secret_problems)},
                                          object.status, object.generation, now);
  status["gateway"] = report.gateway;
  return status;
}

}  // namespace culvert::server
