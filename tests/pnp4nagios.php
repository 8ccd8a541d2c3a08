<?php
// What PNP4Nagios makes of a template, the first argument, and of the metrics in the second: the
// same names around it, and what its helper class writes for rrdtool.

class rrd
{
    public static function def($name, $file, $source, $function = 'AVERAGE')
    {
        return "DEF:$name=$file:$source:$function ";
    }

    public static function cdef($name, $expression)
    {
        return "CDEF:$name=$expression ";
    }

    public static function area($name, $colour, $text = false, $stack = false)
    {
        return "AREA:$name$colour:\"$text\"" . ($stack ? ':STACK ' : ' ');
    }

    public static function line1($name, $colour, $text = false)
    {
        return "LINE1:$name$colour:\"$text\" ";
    }

    public static function line2($name, $colour, $text = false)
    {
        return "LINE2:$name$colour:\"$text\" ";
    }

    public static function gprint($name, $functions, $text)
    {
        $line = '';
        foreach ($functions as $place => $function) {
            $end = $place == count($functions) - 1 ? '\\l' : '';
            $line .= "GPRINT:$name:$function:\"$text " . ucfirst(strtolower($function)) . "$end\" ";
        }
        return $line;
    }

    public static function hrule($value, $colour, $text = false)
    {
        return "HRULE:$value$colour:\"$text\" ";
    }

    public static function cut($text, $length)
    {
        return str_pad($text, $length);
    }
}

class Page
{
    public $DS;

    // As PNP's Data_Model::includeTemplate: these are false, and each part of a metric is an array.
    public function show($template_file)
    {
        $hostname = 'mx';
        $servicedesc = 'SMTP';
        $TIMERANGE = array();
        $def = false;
        $opt = false;
        $ds_name = false;
        foreach ($this->DS as $key => $val) {
            $key++;
            foreach (array_keys($val) as $tag) {
                ${$tag}[$key] = $val[$tag];
            }
        }
        ob_start();
        include $template_file;
        ob_end_clean();
        return array('names' => $ds_name, 'options' => $opt, 'definitions' => $def);
    }
}

// Like Kohana, which PNP is built on: whatever PHP complains about replaces the page.
set_error_handler(function ($kind, $text, $file, $line) {
    throw new ErrorException($text, 0, $kind, $file, $line);
});
$page = new Page();
$page->DS = json_decode($argv[2], true);
echo json_encode($page->show($argv[1]));
