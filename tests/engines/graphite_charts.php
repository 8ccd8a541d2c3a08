<?php
// The charts that Icinga Web's Graphite module draws of a service: [template, title, what Graphite
// made of it, in base64]. Arguments are the module's folder, a file of templates, Graphite's address,
// the host, the service, the check command, and png or json. It is the module that asks Graphite,
// combines metrics to charts and has these drawn; whatever PHP complains about is an error.

use Icinga\Application\EmbeddedWeb;
use Icinga\Module\Graphite\Graphing\GraphiteWebClient;
use Icinga\Module\Graphite\Graphing\MetricsDataSource;
use Icinga\Module\Graphite\Graphing\Templates;
use Icinga\Module\Graphite\Web\FakeSchemeRequest;
use Icinga\Module\Graphite\Web\Widget\GraphImage;
use Icinga\Web\Url;

require '/usr/share/php/Icinga/Application/EmbeddedWeb.php';
$_SERVER['REQUEST_URI'] = '/';
EmbeddedWeb::start('/usr/share/icingaweb2');

list(, $module, $file, $graphite, $host, $service, $command, $format) = $argv;
spl_autoload_register(function ($class) use ($module) {
    $path = str_replace('\\', '/', $class) . '.php';
    foreach (array('Icinga/Module/' => 'library/', '' => 'library/vendor/') as $from => $to) {
        $found = "$module/$to" . preg_replace("#^$from#", '', $path);
        if (is_file($found)) {
            require $found;
            return;
        }
    }
});
set_error_handler(function ($kind, $text, $where, $line) {
    throw new ErrorException($text, 0, $kind, $where, $line);
});

class Client extends GraphiteWebClient
{
    public $format;

    public function request(Url $url, $method = 'GET', array $headers = array(), $body = null)
    {
        return parent::request($url->setParam('format', $this->format), $method, $headers, $body);
    }
}

$client = new Client(Url::fromPath($graphite, array(), new FakeSchemeRequest()));
$client->format = $format;
$source = new MetricsDataSource($client);
$filter = array('host.name' => $host, 'service.name' => $service, 'service.check_command' => $command);
$templates = new Templates();
$templates->loadDir("$module/templates")->loadIni($file);
$ours = $templates->getTemplates($command);
$excluded = array();
foreach ($ours as $template) {
    foreach ($template->getCurves() as list($pattern)) {
        $excluded[] = $pattern;
    }
}
$drawn = array();
foreach (array(array($ours, array()), array($templates->getDefaultTemplates(), $excluded)) as $set) {
    list($some, $without) = $set;
    foreach ($some as $name => $template) {
        if (strpos(array_values($template->getCurves())[0][0], '$service_name_template$') === false) {
            continue;
        }
        foreach ($template->getCharts($source, null, $filter, $without) as $chart) {
            $image = (new GraphImage($chart))->render();
            $title = $template->getUrlParams()['title']->resolve($chart->getMetricVariables());
            $drawn[] = array($name, $title, base64_encode($image));
        }
    }
}
echo json_encode($drawn);
